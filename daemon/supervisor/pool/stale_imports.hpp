// The evidence that the memory behind a descriptor is gone.
#pragma once

#include <chrono>

#include "daemon/supervisor/machine/clock.hpp"

namespace vramswap {

// Counts imports, each by a new worker, at which the descriptor held nothing while the same worker
// could import a fresh store. The driver does not report a reset as such, so one of them proves
// nothing. That I/O fails after a short reconnect time-out does not hurry the verdict: the device
// comes back with its content.
class StaleImports {
 public:
  static constexpr unsigned kEnough = 3;
  static constexpr std::chrono::seconds kLongEnough{30};

  // One more, in a row. True: enough of them over a time that is long enough, so the content is
  // lost.
  bool count(Clock::TimePoint now) {
    if (count_++ == 0) first_ = now;
    return count_ >= kEnough && now - first_ >= kLongEnough;
  }
  // Something else happened: the row is broken.
  void forget() { count_ = 0; }

 private:
  unsigned count_ = 0;
  Clock::TimePoint first_;
};

}  // namespace vramswap
