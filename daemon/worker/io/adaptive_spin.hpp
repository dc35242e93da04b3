// Whether waiting for the next request by looking again and again is worth it. Falling asleep and
// waking up costs some 5 us of a page fault's latency; looking costs a processor.
#pragma once

#include <atomic>
#include <chrono>

namespace vramswap {

// One thread's. Spins only while requests come in quick succession, so that an idle thread does
// not; never for longer than kLimit at a time; never in more threads at once than half the
// processors, for the other half has to make the requests; and, in a realtime thread, never for so
// long that the kernel throttles it (sched_rt_runtime_us: 95 % of a second), which would stop it
// for 50 ms.
class AdaptiveSpin {
 public:
  using Clock = std::chrono::steady_clock;

  static constexpr std::chrono::microseconds kLimit{50};

  AdaptiveSpin(unsigned processors, bool realtime)
      : max_spinners_(processors / 2), realtime_(realtime) {}

  // Before a wait that begins now: how long to spin first; 0: not at all. Until end(), the thread
  // counts among those that spin.
  std::chrono::microseconds begin(Clock::time_point now);
  // After the wait: it took from begin() to `now`, of which the thread slept if `slept`.
  void end(Clock::time_point now, bool slept);

 private:
  static constexpr int kMaxConfidence = 8;
  static constexpr int kConfident = 2;
  // Of each window of time, the part that a realtime thread may be busy for before it stops to
  // spin; waits that it sleeps through leave the rest free.
  static constexpr std::chrono::milliseconds kWindow{100};
  static constexpr std::chrono::milliseconds kMaxBusy{85};

  bool is_too_busy(Clock::time_point now);

  static inline std::atomic<unsigned> spinners_ = 0;

  const unsigned max_spinners_;
  const bool realtime_;
  // Rises with each wait that was shorter than kLimit, falls quickly with each that was longer.
  int confidence_ = 0;
  bool spins_ = false;
  Clock::time_point wait_began_{};
  Clock::time_point window_began_{};
  Clock::duration slept_{0};  // in the window
};

}  // namespace vramswap
