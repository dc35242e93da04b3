#include "daemon/supervisor/machine/steady_clock.hpp"

#include <ctime>

namespace vramswap {
namespace {

class SteadyTimer : public Timer {
 public:
  explicit SteadyTimer(asio::io_context& io) : timer_(io, asio::steady_timer::time_point::max()) {}

  void expires_after(std::chrono::nanoseconds duration) override { timer_.expires_after(duration); }
  void expires_never() override { timer_.expires_at(asio::steady_timer::time_point::max()); }
  awaitable<bool> wait() override {
    ErrorCode cancelled;
    co_await timer_.async_wait(into(cancelled));
    co_return !cancelled;
  }
  void cancel() override { timer_.cancel(); }

 private:
  asio::steady_timer timer_;
};

}  // namespace

Clock::TimePoint SteadyClock::now() const {
  return std::chrono::steady_clock::now();
}

std::int64_t SteadyClock::wall_time() const {
  return std::time(nullptr);
}

std::unique_ptr<Timer> SteadyClock::make_timer() {
  return std::make_unique<SteadyTimer>(io_);
}

}  // namespace vramswap
