// A worker without load sleeps. Wake-ups are counted, not processor time: a busy machine makes a
// wake-up slower, but does not add one.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <thread>

#include "tests/load/worker_fixture.hpp"

namespace vramswap::load {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using std::chrono::seconds;

// Of one thread, as /proc/PID/task/TID/status tells it.
struct ThreadStatus {
  bool asleep = false;
  std::uint64_t wake_ups = 0;  // each time that it went to sleep of its own accord
};

std::map<int, ThreadStatus> read_threads(int pid) {
  std::map<int, ThreadStatus> threads;
  for (const auto& task :
       std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/task")) {
    ThreadStatus& thread = threads[std::stoi(task.path().filename())];
    std::ifstream status(task.path() / "status");
    for (std::string line; std::getline(status, line);) {
      const auto value = line.substr(std::min(line.find(':') + 2, line.size()));
      if (line.starts_with("State:")) thread.asleep = value.starts_with("S");
      if (line.starts_with("voluntary_ctxt_switches:")) thread.wake_ups = std::stoull(value);
    }
  }
  return threads;
}

// Nothing where some thread is never seen asleep: it spins.
std::map<int, ThreadStatus> wait_until_all_sleep(int pid) {
  constexpr seconds kPatience{30};
  const auto deadline = Clock::now() + kPatience;
  do {
    auto threads = read_threads(pid);
    if (std::ranges::all_of(threads, [](const auto& known) { return known.second.asleep; })) {
      return threads;
    }
    std::this_thread::sleep_for(milliseconds(20));
  } while (Clock::now() < deadline);
  return {};
}

TEST(IdleWorker, SleepsAfterALoad) {
  // An I/O thread waits without a time-out, so it does not wake up at all.
  constexpr std::uint64_t kIoThreadLimit = 1;
  // The control thread looks once a second.
  constexpr std::uint64_t kControlThreadLimitPerSecond = 3;

  ServedSegment served({});
  expect_clean(served.run(milliseconds(500)));
  const int pid = served.worker().pid();
  const auto before = wait_until_all_sleep(pid);
  const auto began = Clock::now();
  ASSERT_EQ(before.size(), 1 + kThreads) << "some thread does not sleep";
  std::this_thread::sleep_for(seconds(4));
  const auto after = wait_until_all_sleep(pid);
  const auto elapsed = std::chrono::ceil<seconds>(Clock::now() - began);
  ASSERT_EQ(after.size(), before.size()) << "some thread does not sleep";
  for (const auto& [id, thread] : after) {
    const auto limit =
        id == pid ? kControlThreadLimitPerSecond * static_cast<std::uint64_t>(elapsed.count())
                  : kIoThreadLimit;
    EXPECT_LE(thread.wake_ups - before.at(id).wake_ups, limit)
        << (id == pid ? "control thread" : "I/O thread");
  }
}

}  // namespace
}  // namespace vramswap::load
