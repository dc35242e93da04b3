// A state machine as a table of rows: this event leads from here to there.
#pragma once

#include <algorithm>
#include <optional>
#include <ranges>

namespace vramswap {

template <class State, class Event>
struct Transition {
  State from;
  Event event;
  State to;
};

// Nothing where the table has no row for it.
template <std::ranges::range Table, class State, class Event>
std::optional<State> next_in(const Table& table, State state, Event event) {
  const auto row = std::ranges::find_if(
      table, [&](const auto& each) { return each.from == state && each.event == event; });
  if (row == std::ranges::end(table)) return std::nullopt;
  return row->to;
}

}  // namespace vramswap
