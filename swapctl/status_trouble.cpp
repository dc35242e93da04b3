#include "swapctl/status_trouble.hpp"

#include <algorithm>

namespace vramswap::swapctl {

std::optional<Trouble> made_by_others(const control::Status& status) {
  const auto& segments = status.segments;
  if (segments.empty()) return std::nullopt;
  const auto disconnected =
      std::ranges::find(segments, control::kDisconnectedState, &control::SegmentStatus::state);
  if (disconnected != segments.end()) {
    return Trouble{disconnected->device + ": somebody else has disconnected it",
                   "programs that need a page of it get SIGBUS; end them and run 'vramswap down'",
                   kFailed};
  }
  if (std::ranges::all_of(segments, [](const auto& s) { return s.state == control::kOffState; })) {
    return Trouble{"somebody else has swapped it off", "'vramswap up' swaps it on again",
                   kNothingUp};
  }
  return std::nullopt;
}

}  // namespace vramswap::swapctl
