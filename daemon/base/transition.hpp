// A state machine as a table: each row has a state, an event and the state that follows.
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

// The state that follows `state` on `event`; no value if the table has no such row.
template <std::ranges::range Table, class State, class Event>
std::optional<State> next_in(const Table& table, State state, Event event) {
  const auto row = std::ranges::find_if(
      table, [&](const auto& each) { return each.from == state && each.event == event; });
  if (row == std::ranges::end(table)) return std::nullopt;
  return row->to;
}

}  // namespace vramswap
