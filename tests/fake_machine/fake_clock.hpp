// A clock that stands still while any work can proceed, and then jumps.
#pragma once

#include <set>

#include "daemon/supervisor/machine/clock.hpp"

namespace vramswap::fake {

class FakeTimer;

class FakeClock : public Clock {
 public:
  explicit FakeClock(asio::io_context& io) : io_(io) {}

  TimePoint now() const override { return now_; }
  std::int64_t wall_time() const override { return 1'700'000'000; }
  std::unique_ptr<Timer> make_timer() override;

  // To the next moment for which some work waits. False: no work waits for time.
  bool jump();
  // The whole machine is asleep for that long: no work is done meanwhile.
  void sleep_through(std::chrono::nanoseconds time) { now_ += time; }

 private:
  friend class FakeTimer;

  asio::io_context& io_;
  TimePoint now_ = TimePoint() + std::chrono::hours(1);
  // That somebody may wait for. They have it, too: coroutines that never end go after the clock.
  std::shared_ptr<std::set<FakeTimer*>> timers_ = std::make_shared<std::set<FakeTimer*>>();
};

}  // namespace vramswap::fake
