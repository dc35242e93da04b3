// All of it together.
#pragma once

#include <functional>
#include <optional>

#include "daemon/supervisor/machine/machine.hpp"
#include "tests/fake_machine/fake_clock.hpp"
#include "tests/fake_machine/fake_memory.hpp"
#include "tests/fake_machine/fake_nbd.hpp"
#include "tests/fake_machine/fake_swap.hpp"
#include "tests/fake_machine/fake_worker.hpp"

namespace vramswap::fake {

class FakeServiceManager : public ServiceManager {
 public:
  void notify_ready() override {}
  void notify_stopping() override {}
  bool notify_status(std::string_view status) override {
    if (takes_status) statuses.emplace_back(status);
    return takes_status;
  }
  void extend_timeout(std::chrono::microseconds) override {}
  void push_to_fdstore(const std::string& name, int fd) override;
  void remove_from_fdstore(const std::string& name) override { fdstore.erase(name); }
  void wait_for_fdstore() override {}
  NamedFds receive_fdstore() override;
  awaitable<std::optional<std::size_t>> count_fdstore() override {
    ++counts;
    co_return kept_fds;
  }
  awaitable<bool> is_restarting() override { co_return restarts; }
  awaitable<void> keep_init_out_of_swap() override { co_return; }

  std::optional<std::size_t> kept_fds;
  unsigned counts = 0;  // how often it was asked how many it keeps
  bool restarts = false;
  bool takes_status = true;
  std::vector<std::string> statuses;  // all that it was told, in order
  NamedFds fdstore;
};

class FakeMachine {
 public:
  FakeMachine();
  FakeMachine(const FakeMachine&) = delete;

  // Runs until `work` is over; the clock jumps whenever no other work can proceed. Ends the test
  // program if the work waits for something that never comes.
  template <class T>
  T run(awaitable<T> work) {
    std::optional<T> result;
    asio::co_spawn(
        io, [&]() -> awaitable<void> { result = co_await std::move(work); }, asio::detached);
    run_until([&] { return result.has_value(); });
    return *std::move(result);
  }
  void run_until(const std::function<bool()>& is_over);
  // Runs all work that can proceed without time passing.
  void settle();
  // Runs all work that can proceed within that time.
  void pass(std::chrono::nanoseconds time);

  asio::io_context io{1};
  Steps steps;
  FakeClock clock;
  FakeNbd nbd;
  FakeLauncher launcher;
  FakeSwap swap;
  FakeServiceManager service_manager;
  FakeMemoryReserve memory_reserve;
  FakeLastResort last_resort;
  Machine interfaces;
};

}  // namespace vramswap::fake
