#include "tests/fake_machine/fake_machine.hpp"

#include <fcntl.h>

#include <cstdio>
#include <cstdlib>

namespace vramswap::fake {

void FakeServiceManager::push_to_fdstore(const std::string& name, int fd) {
  fdstore[name] = duplicate(fd);
}

NamedFds FakeServiceManager::receive_fdstore() {
  NamedFds fds;
  for (const auto& [name, fd] : fdstore) fds[name] = fd.duplicate();
  return fds;
}

FakeMachine::FakeMachine()
    : clock(io),
      nbd(steps),
      launcher(io, steps),
      swap(io, steps),
      memory_reserve(io),
      interfaces{io, clock, nbd, launcher, swap, service_manager, memory_reserve, last_resort} {}

void FakeMachine::settle() {
  io.restart();
  while (io.poll() > 0) io.restart();
}

void FakeMachine::run_until(const std::function<bool()>& is_over) {
  for (;;) {
    settle();
    if (is_over()) return;
    if (!clock.jump()) {
      std::fputs("fake machine: all work waits, and none of it for time\n", stderr);
      std::abort();
    }
  }
}

void FakeMachine::pass(std::chrono::nanoseconds time) {
  const auto timer = clock.make_timer();
  timer->expires_after(time);
  bool is_over = false;
  asio::co_spawn(
      io,
      [&]() -> awaitable<void> {
        co_await timer->wait();
        is_over = true;
      },
      asio::detached);
  run_until([&] { return is_over; });
}

}  // namespace vramswap::fake
