// How the supervisor waits for what the simulated machine does.
#pragma once

#include <chrono>

#include "daemon/supervisor/asio.hpp"

namespace vramswap::simulation {

class Process;

// Those who wait are woken once. A process that has died leaves them to its io_context.
class Wake {
 public:
  explicit Wake(asio::io_context& io) : timer_(io, asio::steady_timer::time_point::max()) {}
  awaitable<void> wait() {
    ErrorCode ignored;
    co_await timer_.async_wait(into(ignored));
  }
  void wake() { timer_.cancel(); }

 private:
  asio::steady_timer timer_;
};

// Time passes in the kernel.
awaitable<void> pass(Process& process, std::chrono::nanoseconds time);
// For a call of a process that is dead.
awaitable<void> never_return(Process& process);

}  // namespace vramswap::simulation
