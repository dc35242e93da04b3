#include "daemon/worker/worker_state.hpp"

#include <algorithm>
#include <array>

namespace vramswap {
namespace {

using State = WorkerState;
using Event = WorkerEvent;

struct Transition {
  State from;
  Event event;
  State to;
};

constexpr auto kTransitions = std::to_array<Transition>({
    {State::fresh, Event::started, State::serving},
    {State::serving, Event::went_idle, State::dozing},
    {State::serving, Event::replaced, State::waking},
    {State::dozing, Event::called, State::waking},
    {State::waking, Event::woken, State::serving},
});

}  // namespace

std::string_view to_string(WorkerState state) {
  switch (state) {
    case State::fresh:
      return "starting";
    case State::serving:
      return "serving";
    case State::dozing:
      return "dozing";
    case State::waking:
      return "waking";
  }
  return "?";
}

std::optional<WorkerState> next_state(WorkerState state, WorkerEvent event) {
  const auto found = std::ranges::find_if(kTransitions, [&](const Transition& transition) {
    return transition.from == state && transition.event == event;
  });
  if (found == kTransitions.end()) return std::nullopt;
  return found->to;
}

}  // namespace vramswap
