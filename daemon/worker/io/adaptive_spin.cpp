#include "daemon/worker/io/adaptive_spin.hpp"

#include <algorithm>

namespace vramswap {

std::chrono::microseconds AdaptiveSpin::begin(Clock::time_point now) {
  wait_began_ = now;
  if (confidence_ < kConfident || (realtime_ && is_too_busy(now))) return {};
  if (spinners_.fetch_add(1, std::memory_order_relaxed) >= max_spinners_) {
    spinners_.fetch_sub(1, std::memory_order_relaxed);
    return {};
  }
  spins_ = true;
  return kLimit;
}

void AdaptiveSpin::end(Clock::time_point now, bool slept) {
  if (spins_) spinners_.fetch_sub(1, std::memory_order_relaxed);
  spins_ = false;
  const auto waited = now - wait_began_;
  confidence_ = waited < kLimit ? std::min(confidence_ + 1, kMaxConfidence) : confidence_ / 2;
  if (slept) slept_ += waited;
}

bool AdaptiveSpin::is_too_busy(Clock::time_point now) {
  if (now - window_began_ >= kWindow) {
    window_began_ = now;
    slept_ = {};
  }
  return now - window_began_ - slept_ > kMaxBusy;
}

}  // namespace vramswap
