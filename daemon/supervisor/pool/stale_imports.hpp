// The evidence that the memory behind a descriptor is gone.
#pragma once

#include <algorithm>
#include <chrono>

#include "daemon/supervisor/machine/clock.hpp"

namespace vramswap {

// Counts imports, each by a new worker, at which the descriptor held nothing while the same worker
// could import a fresh store. The driver does not report a reset as such, so one of them proves
// nothing.
class StaleImports {
 public:
  static constexpr unsigned kEnough = 3;
  static constexpr std::chrono::seconds kLongEnough{30};

  // The kernel fails the I/O that has waited for `reconnect_timeout`: there must be time left.
  explicit StaleImports(std::chrono::seconds reconnect_timeout)
      : long_enough_(std::min<std::chrono::milliseconds>(
            kLongEnough, std::chrono::milliseconds(reconnect_timeout) / 2)) {}

  // One more, in a row. True: enough of them over a time that is long enough, so the content is
  // lost.
  bool count(Clock::TimePoint now) {
    if (count_++ == 0) first_ = now;
    return count_ >= kEnough && now - first_ >= long_enough_;
  }
  // Something else happened: the row is broken.
  void forget() { count_ = 0; }

 private:
  const std::chrono::milliseconds long_enough_;
  unsigned count_ = 0;
  Clock::TimePoint first_;
};

}  // namespace vramswap
