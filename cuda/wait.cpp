#include "cuda/wait.hpp"

#include <algorithm>
#include <cerrno>
#include <ctime>

namespace vramswap::cuda {
namespace {

// A look at the clock takes as long as a few looks at a word.
constexpr unsigned kLooksPerClock = 8;

void sleep_for(std::chrono::nanoseconds time) {
  // Shorter than a second.
  timespec left{.tv_sec = 0, .tv_nsec = static_cast<long>(time.count())};
  while (clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left) == EINTR) {
  }
}

}  // namespace

const Wait::Time Wait::kRealTime{.now = Clock::now, .sleep = sleep_for};

void Wait::pause() {
  if (spins_) {
    if (looks_ % kLooksPerClock == 0) {
      const auto now = time_.now();
      if (looks_ == 0) spins_until_ = now + kSpin;
      spins_ = now < spins_until_;
    }
    ++looks_;
    __builtin_ia32_pause();
    return;
  }
  time_.sleep(next_sleep_);
  slept_ += next_sleep_;
  // Slowly, so that a thread oversleeps by at most a quarter of the time that it has waited.
  next_sleep_ = std::min<std::chrono::nanoseconds>(next_sleep_ * 5 / 4, kLongestSleep);
}

api::CUresult wait_for(const Driver& driver, api::CUstream stream) {
  Wait wait;
  for (;;) {
    const auto code = driver->cuStreamQuery(stream);
    if (code != api::CUDA_ERROR_NOT_READY) return code;
    wait.pause();
  }
}

}  // namespace vramswap::cuda
