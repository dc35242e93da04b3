#include "daemon/supervisor/pool/segment_state.hpp"

#include <array>

#include "daemon/base/transition.hpp"

namespace vramswap {
namespace {

using State = SegmentState;
using Event = SegmentEvent;

// No event leads from a state with swap on (active, swapping_off, interrupted) to one without a
// device, and swapoff starts only where somebody serves: on an interrupted segment it would return
// success and lose what it could not read.
constexpr auto kTransitions = std::to_array<Transition<State, Event>>({
    {State::planned, Event::store_created, State::allocated},
    {State::allocated, Event::device_connected, State::connected},
    {State::allocated, Event::store_released, State::planned},
    {State::allocated, Event::worker_lost, State::allocated},
    {State::allocated, Event::worker_restored, State::allocated},
    {State::connected, Event::swap_on, State::active},
    {State::stranded, Event::swap_on, State::interrupted},
    {State::connected, Event::device_disconnected, State::allocated},
    {State::connected, Event::worker_lost, State::stranded},
    {State::active, Event::swap_off_started, State::swapping_off},
    {State::active, Event::worker_lost, State::interrupted},
    {State::swapping_off, Event::swap_off_done, State::connected},
    // By somebody else, and nothing was asked of us.
    {State::active, Event::swap_off_done, State::connected},
    {State::interrupted, Event::swap_off_done, State::stranded},
    {State::swapping_off, Event::swap_off_failed, State::active},
    // swapoff(2) is told to stop, but its reads wait in the kernel for the next worker: it may end,
    // either way, before that one serves or after.
    {State::swapping_off, Event::worker_lost, State::swapping_off},
    {State::swapping_off, Event::worker_restored, State::swapping_off},
    {State::active, Event::worker_restored, State::active},
    {State::connected, Event::worker_restored, State::connected},
    {State::interrupted, Event::worker_restored, State::active},
    {State::stranded, Event::worker_restored, State::connected},
    {State::stranded, Event::device_disconnected, State::allocated},
});

}  // namespace

std::string_view to_string(SegmentState state) {
  switch (state) {
    case State::planned:
      return "planned";
    case State::allocated:
      return "allocated";
    case State::connected:
      return "connected";
    case State::active:
      return "active";
    case State::swapping_off:
      return "swapping-off";
    case State::interrupted:
      return "interrupted";
    case State::stranded:
      return "stranded";
  }
  return "?";
}

std::string_view to_string(SegmentEvent event) {
  switch (event) {
    case Event::store_created:
      return "store created";
    case Event::device_connected:
      return "device connected";
    case Event::swap_on:
      return "swap on";
    case Event::swap_off_started:
      return "swapoff started";
    case Event::swap_off_failed:
      return "swapoff failed";
    case Event::swap_off_done:
      return "swapoff done";
    case Event::worker_lost:
      return "worker lost";
    case Event::worker_restored:
      return "worker restored";
    case Event::device_disconnected:
      return "device disconnected";
    case Event::store_released:
      return "store released";
  }
  return "?";
}

SegmentState state_as_found(bool has_device, bool is_swap, bool is_served) {
  if (!has_device) return State::allocated;
  if (is_swap) return is_served ? State::active : State::interrupted;
  return is_served ? State::connected : State::stranded;
}

std::optional<SegmentState> next_state(SegmentState state, SegmentEvent event) {
  return next_in(kTransitions, state, event);
}

}  // namespace vramswap
