#include "tests/fake_machine/fake_machine.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace vramswap::fake {
namespace {

bool is_same_file(int one, int other) {
  struct stat first {};
  struct stat second {};
  return fstat(one, &first) == 0 && fstat(other, &second) == 0 && first.st_dev == second.st_dev &&
         first.st_ino == second.st_ino;
}

}  // namespace

// As systemd: a file is kept once, under its first name.
void FakeServiceManager::push_to_fdstore(const std::string& name, int fd) {
  const bool is_kept = std::ranges::any_of(
      fdstore, [&](const auto& kept) { return is_same_file(kept.second.get(), fd); });
  if (!is_kept) fdstore[name] = duplicate(fd);
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
