// Decides whether a thread spins while it waits for the next request. Sleeping and waking up adds
// about 5 us to the latency of a page fault; spinning occupies a processor.
#pragma once

#include <atomic>
#include <chrono>

namespace vramswap {

// Each I/O thread has its own. The rules:
// - A thread spins only while requests come in quick succession, so an idle thread does not spin.
// - It spins for at most kLimit at a time.
// - At most half as many threads spin at once as there are processors. The other processors are
//   needed to make the requests.
// - A realtime thread does not spin for so long that the kernel throttles it (sched_rt_runtime_us:
//   95 % of a second). That would stop it for 50 ms.
class AdaptiveSpin {
 public:
  using Clock = std::chrono::steady_clock;

  static constexpr std::chrono::microseconds kLimit{50};

  AdaptiveSpin(unsigned processors, bool realtime)
      : max_spinners_(processors / 2), realtime_(realtime) {}

  // Called when a wait begins. Returns how long to spin before sleeping; 0 means not at all. If it
  // is above 0, the thread counts as spinning until end().
  std::chrono::microseconds begin(Clock::time_point now);
  // Called when the wait ends, at `now`. `slept`: the thread slept during the wait.
  void end(Clock::time_point now, bool slept);

 private:
  static constexpr int kMaxConfidence = 8;
  static constexpr int kConfident = 2;
  // A realtime thread stops spinning once it has been busy for kMaxBusy of the current kWindow.
  // Waits in which it slept do not count.
  static constexpr std::chrono::milliseconds kWindow{100};
  static constexpr std::chrono::milliseconds kMaxBusy{85};

  bool is_too_busy(Clock::time_point now);

  static inline std::atomic<unsigned> spinners_ = 0;

  const unsigned max_spinners_;
  const bool realtime_;
  // Rises with each wait that is shorter than kLimit, and halves with each longer one.
  int confidence_ = 0;
  bool spins_ = false;
  Clock::time_point wait_began_{};
  Clock::time_point window_began_{};
  Clock::duration slept_{0};  // in the current window
};

}  // namespace vramswap
