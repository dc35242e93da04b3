#include "tests/fake_machine/fake_clock.hpp"

#include <algorithm>
#include <optional>

namespace vramswap::fake {

class FakeTimer : public Timer {
 public:
  explicit FakeTimer(FakeClock& clock)
      : clock_(clock),
        timers_(clock.timers_),
        woken_(clock.io_, asio::steady_timer::time_point::max()) {
    timers_->insert(this);
  }
  ~FakeTimer() override { timers_->erase(this); }

  void expires_after(std::chrono::nanoseconds duration) override {
    cancel();
    deadline_ = clock_.now_ + duration;
    is_over_ = false;
  }
  void expires_never() override {
    cancel();
    deadline_.reset();
    is_over_ = false;
  }
  awaitable<bool> wait() override {
    if (is_over_) co_return true;
    ErrorCode ignored;
    ++waiters_;
    was_cancelled_ = false;
    co_await woken_.async_wait(into(ignored));
    --waiters_;
    co_return !was_cancelled_;
  }
  void cancel() override {
    was_cancelled_ = true;
    woken_.cancel();
  }

  // The next time at which a waiting coroutine must be woken.
  std::optional<Clock::TimePoint> due() const {
    return waiters_ > 0 && !is_over_ ? deadline_ : std::nullopt;
  }
  void expire() {
    is_over_ = true;
    was_cancelled_ = false;
    woken_.cancel();
  }

 private:
  FakeClock& clock_;
  const std::shared_ptr<std::set<FakeTimer*>> timers_;
  asio::steady_timer woken_;
  std::optional<Clock::TimePoint> deadline_;
  unsigned waiters_ = 0;
  bool is_over_ = false;
  bool was_cancelled_ = false;
};

std::unique_ptr<Timer> FakeClock::make_timer() {
  return std::make_unique<FakeTimer>(*this);
}

bool FakeClock::jump() {
  std::optional<TimePoint> next;
  for (const FakeTimer* timer : *timers_) {
    if (const auto due = timer->due(); due && (!next || *due < *next)) next = due;
  }
  if (!next) return false;
  now_ = std::max(now_, *next);
  for (FakeTimer* timer : *timers_) {
    if (const auto due = timer->due(); due && *due <= now_) timer->expire();
  }
  return true;
}

}  // namespace vramswap::fake
