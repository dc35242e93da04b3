// A Copier that records when its current call began, so that another thread sees when it hangs.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>

#include "daemon/worker/store/store.hpp"

namespace vramswap {

// When the current call began. One thread writes it; any thread may read it.
class CopyTimer {
 public:
  using Clock = std::chrono::steady_clock;

  void begin() { since_.store(Clock::now().time_since_epoch().count(), std::memory_order_relaxed); }
  void end() { since_.store(kIdle, std::memory_order_relaxed); }
  std::optional<Clock::time_point> since() const {
    const auto since = since_.load(std::memory_order_relaxed);
    if (since == kIdle) return std::nullopt;
    return Clock::time_point(Clock::duration(since));
  }

 private:
  static constexpr Clock::rep kIdle = 0;  // the clock counts from boot, so no call begins at 0
  std::atomic<Clock::rep> since_ = kIdle;
};

class WatchdogCopier final : public Copier {
 public:
  WatchdogCopier(std::unique_ptr<Copier> copier, CopyTimer& clock)
      : copier_(std::move(copier)), clock_(clock) {}

  Result<void> begin(Direction direction, unsigned slot, std::span<const Copy> batch) override {
    clock_.begin();
    auto result = copier_->begin(direction, slot, batch);
    clock_.end();
    return result;
  }
  Result<void> wait(Direction direction, unsigned slot, std::size_t copies) override {
    clock_.begin();
    auto result = copier_->wait(direction, slot, copies);
    clock_.end();
    return result;
  }

 private:
  std::unique_ptr<Copier> copier_;
  CopyTimer& clock_;
};

}  // namespace vramswap
