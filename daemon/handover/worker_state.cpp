#include "daemon/handover/worker_state.hpp"

#include <array>

#include "daemon/base/transition.hpp"

namespace vramswap {
namespace {

using State = WorkerState;
using Event = WorkerEvent;

constexpr auto kTransitions = std::to_array<Transition<State, Event>>({
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
  return next_in(kTransitions, state, event);
}

}  // namespace vramswap
