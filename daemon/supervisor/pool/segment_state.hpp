// The life of a segment as a table: which event leads from which state to which.
#pragma once

#include <optional>
#include <string_view>

namespace vramswap {

enum class SegmentState {
  planned,       // nothing exists yet
  allocated,     // the store exists, scrubbed; no device
  connected,     // the kernel's device is there and served; no swap on it
  active,        // swap is on
  swapping_off,  // swapoff(2) is moving its pages back; the device is served
  interrupted,   // swap is on, but nobody serves the device: the kernel queues its I/O
  stranded,      // no swap, and nobody serves the device
};
inline constexpr int kSegmentStateCount = 7;

enum class SegmentEvent {
  store_created,
  device_connected,
  swap_on,
  swap_off_started,
  swap_off_failed,  // or cancelled: the swap is on as before
  swap_off_done,
  worker_lost,
  worker_restored,
  device_disconnected,
  store_released,
};
inline constexpr int kSegmentEventCount = 10;

// As status shows it: "active", "swapping-off", ...
std::string_view to_string(SegmentState state);
std::string_view to_string(SegmentEvent event);

// That of a segment which a dead supervisor left, as the kernel and its worker show it.
SegmentState state_as_found(bool has_device, bool is_swap, bool is_served);

// Nothing where the event cannot happen in that state: a bug, or an operation to refuse.
std::optional<SegmentState> next_state(SegmentState state, SegmentEvent event);

}  // namespace vramswap
