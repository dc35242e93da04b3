// How a thread waits for the GPU.
#pragma once

#include <chrono>

#include "cuda/driver.hpp"

namespace vramswap::cuda {

/// Between two looks at whether the GPU is done: a thread looks, calls pause(), and looks again. A
/// normal wait is over within a few microseconds, which sleeping would double, so the first pauses
/// are spins. After 100 us the thread sleeps, for 50 us at first and then longer and longer, up to
/// 1 ms: threads at realtime priority would take the processors away from all others while the GPU
/// hangs or works for another program.
class Wait {
 public:
  using Clock = std::chrono::steady_clock;

  static constexpr std::chrono::microseconds kSpin{100};
  static constexpr std::chrono::microseconds kFirstSleep{50};
  static constexpr std::chrono::microseconds kLongestSleep{1000};

  /// Tests have a time of their own.
  struct Time {
    Clock::time_point (*now)();
    void (*sleep)(std::chrono::nanoseconds);
  };
  static const Time kRealTime;

  explicit Wait(const Time& time = kRealTime) : time_(time) {}

  void pause();
  /// All sleeps together; 0 while it spins.
  std::chrono::nanoseconds slept() const { return slept_; }

 private:
  const Time& time_;
  unsigned looks_ = 0;
  bool spins_ = true;
  Clock::time_point spins_until_{};
  std::chrono::nanoseconds next_sleep_ = kFirstSleep;
  std::chrono::nanoseconds slept_{0};
};

/// Waits until all work in `stream` is done; null: in the default stream. Asks the driver at each
/// look, and never waits inside the driver, which may spin, or whose threads may be stuck. On a
/// hung GPU this never returns. Returns what cuStreamQuery says in the end.
api::CUresult wait_for(const Driver& driver, api::CUstream stream);

}  // namespace vramswap::cuda
