// Time, and waiting for it. The simulation has a clock that jumps.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>

#include "daemon/supervisor/asio.hpp"

namespace vramswap {

// Wakes those who wait for it once, when its time is over or when it is cancelled.
class Timer {
 public:
  virtual ~Timer() = default;
  // Those who wait are woken as by cancel().
  virtual void expires_after(std::chrono::nanoseconds duration) = 0;
  // Never, which is how it is when it is made.
  virtual void expires_never() = 0;
  // True: its time is over. False: it was cancelled.
  virtual awaitable<bool> wait() = 0;
  virtual void cancel() = 0;
};

class Clock {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  virtual ~Clock() = default;
  virtual TimePoint now() const = 0;
  // Seconds since the epoch.
  virtual std::int64_t wall_time() const = 0;
  virtual std::unique_ptr<Timer> make_timer() = 0;

  awaitable<void> sleep(std::chrono::nanoseconds duration) {
    const auto timer = make_timer();
    timer->expires_after(duration);
    co_await timer->wait();
  }
};

}  // namespace vramswap
