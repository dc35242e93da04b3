#include "tests/simulation/waiting.hpp"

#include "tests/simulation/outside.hpp"
#include "tests/simulation/process.hpp"

namespace vramswap::simulation {
namespace {

class SimTimer : public Timer {
 public:
  explicit SimTimer(Process& process)
      : process_(process), state_(std::make_shared<State>(process.io())) {}
  ~SimTimer() override { forget(); }

  void expires_after(std::chrono::nanoseconds duration) override {
    cancel();
    forget();
    state_->is_over = false;
    entry_ = process_.world().after(duration, [this] {
      entry_.reset();
      state_->is_over = true;
      state_->was_cancelled = false;
      state_->woken.wake();
    });
  }
  void expires_never() override {
    cancel();
    forget();
    state_->is_over = false;
  }
  awaitable<bool> wait() override {
    const auto state = state_;
    if (state->is_over) co_return true;
    state->was_cancelled = false;
    co_await state->woken.wait();
    co_return !state->was_cancelled;
  }
  void cancel() override {
    state_->was_cancelled = true;
    state_->woken.wake();
  }

 private:
  struct State {
    explicit State(asio::io_context& io) : woken(io) {}
    Wake woken;
    bool is_over = false;
    bool was_cancelled = false;
  };
  void forget() {
    if (entry_) process_.world().forget(*entry_);
    entry_.reset();
  }

  Process& process_;
  const std::shared_ptr<State> state_;
  std::optional<World::Schedule::iterator> entry_;
};

}  // namespace

TimePoint SimClock::now() const {
  return process_.world().now();
}
std::unique_ptr<Timer> SimClock::make_timer() {
  return std::make_unique<SimTimer>(process_);
}

awaitable<void> pass(Process& process, std::chrono::nanoseconds time) {
  SimTimer timer(process);
  timer.expires_after(time);
  co_await timer.wait();
}

awaitable<void> never_return(Process& process) {
  const auto wake = std::make_shared<Wake>(process.io());
  co_await wake->wait();
}

}  // namespace vramswap::simulation
