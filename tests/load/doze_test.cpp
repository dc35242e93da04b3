// Workers that doze: the first request wakes them, and none is lost, whenever it comes.
#include <signal.h>

#include <algorithm>
#include <future>
#include <iterator>
#include <random>
#include <thread>

#include "tests/load/worker_fixture.hpp"

namespace vramswap::load {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// The shortest that can be set; the worker looks once a second.
constexpr seconds kDozeAfter{1};
constexpr seconds kPatience{20};

struct Doze : testing::Test {
  bool dozes(ServedSegment& served) {
    return served.worker().wait_for_state(WorkerState::dozing, kPatience);
  }
  // It says waking, then serving.
  bool serves_again(ServedSegment& served) {
    served.worker().state = WorkerState::waking;
    return served.worker().wait_for_state(WorkerState::serving, kPatience);
  }

  TempDirectory directory;
  const std::string worker_socket = directory / "worker-0";
};

std::size_t count_threads(pid_t pid) {
  const std::string tasks = "/proc/" + std::to_string(pid) + "/task";
  return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(tasks), {}));
}

std::size_t count_descriptors(pid_t pid) {
  const std::string fds = "/proc/" + std::to_string(pid) + "/fd";
  return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(fds), {}));
}

TEST_F(Doze, TheFirstRequestWakesItAgainAndAgain) {
  ServedSegment served({.worker_socket = worker_socket, .doze_after = kDozeAfter});
  const pid_t pid = served.worker().pid();
  std::size_t descriptors = 0;
  for (int round = 0; round < 3; ++round) {
    expect_uninterrupted(served.run(milliseconds(200)));
    ASSERT_TRUE(dozes(served)) << "round " << round;
    EXPECT_EQ(count_threads(pid), 1U);
    // Nothing leaks from one life to the next.
    if (round == 0) descriptors = count_descriptors(pid);
    EXPECT_EQ(count_descriptors(pid), descriptors);
    expect_uninterrupted(served.verify());
    ASSERT_TRUE(serves_again(served)) << "round " << round;
    EXPECT_EQ(count_threads(pid), 1 + kThreads);
  }
  EXPECT_EQ(served.worker().wait(milliseconds(0)), std::nullopt);
  EXPECT_TRUE(served.worker().ended.empty());
}

TEST_F(Doze, ItDoesNotDozeUnderLoadNorWhenNotTold) {
  ServedSegment busy({.doze_after = kDozeAfter}, {.depth = 1});
  ServedSegment never({});
  expect_uninterrupted(busy.run(seconds(4)));
  EXPECT_FALSE(busy.worker().wait_for_state(WorkerState::dozing, milliseconds(0)));
  EXPECT_FALSE(never.worker().wait_for_state(WorkerState::dozing, milliseconds(0)));
}

TEST_F(Doze, ASupervisorIsAnsweredWithoutWakingItUnlessItMust) {
  ServedSegment served({.worker_socket = worker_socket, .doze_after = kDozeAfter});
  expect_uninterrupted(served.run(milliseconds(200)));
  ASSERT_TRUE(served.worker().describe("asleep"));
  ASSERT_TRUE(dozes(served));
  served.worker().close_channel();
  ASSERT_TRUE(served.worker().reattach(worker_socket));
  const auto adopted = served.worker().adopt();
  ASSERT_TRUE(adopted) << adopted.error().message;
  EXPECT_EQ(adopted->state, WorkerState::dozing);
  EXPECT_EQ(adopted->description, "asleep");
  ASSERT_EQ(adopted->segments.size(), 1U);
  EXPECT_EQ(adopted->segments[0].connections.size(), kThreads);
  EXPECT_TRUE(served.worker().hand_over(0));
  EXPECT_TRUE(served.worker().stats());  // its sign of life
  ASSERT_TRUE(served.worker().describe("still asleep"));
  EXPECT_EQ(served.worker().adopt().value().state, WorkerState::dozing);
  // This one needs the store.
  served.connect();
  EXPECT_EQ(served.worker().adopt().value().state, WorkerState::serving);
  expect_uninterrupted(served.verify());
}

TEST_F(Doze, ItDozesAndWakesWithoutASupervisor) {
  ServedSegment served({.worker_socket = worker_socket, .doze_after = kDozeAfter});
  expect_uninterrupted(served.run(milliseconds(200)));
  served.worker().close_channel();
  std::this_thread::sleep_for(milliseconds(2500));
  EXPECT_EQ(count_threads(served.worker().pid()), 1U);
  expect_uninterrupted(served.verify());
  ASSERT_TRUE(served.worker().reattach(worker_socket));
  EXPECT_TRUE(served.worker().adopt());
}

TEST_F(Doze, AHangUpInADozeIsReported) {
  ServedSegment served({.doze_after = kDozeAfter});
  ASSERT_TRUE(dozes(served));
  served.disconnect();
  ASSERT_TRUE(serves_again(served));
  for (int i = 0; i < 100 && served.worker().ended.size() < kThreads; ++i) {
    std::this_thread::sleep_for(milliseconds(20));
    (void)served.worker().adopt();
  }
  ASSERT_EQ(served.worker().ended.size(), kThreads);
  for (const auto& end : served.worker().ended) EXPECT_EQ(end.end, ConnectionEnd::hung_up);
  served.connect();
  expect_uninterrupted(served.verify());
}

// Most of them have ended, and not been told of, when it looks whether to doze.
TEST_F(Doze, EveryHangUpIsReportedAtTheMomentItDozes) {
  ServedSegment served({.doze_after = kDozeAfter});
  std::vector<UniqueFd> more;
  for (int i = 0; i < 4; ++i) {
    auto sockets = served.worker().connect(0, kThreads).value();
    std::ranges::move(sockets, std::back_inserter(more));
  }
  expect_uninterrupted(served.run(milliseconds(50)));
  // It looks at each message, and then not for a second: so it may doze, and has not yet, when the
  // connections end.
  ASSERT_TRUE(served.worker().describe("idle since now"));
  std::this_thread::sleep_for(milliseconds(600));
  ASSERT_TRUE(served.worker().describe("not for long enough"));
  std::this_thread::sleep_for(milliseconds(700));
  ASSERT_TRUE(kill(served.worker().pid(), SIGSTOP) == 0);
  const std::size_t connections = more.size() + kThreads;
  more.clear();
  served.disconnect();
  ASSERT_TRUE(kill(served.worker().pid(), SIGCONT) == 0);
  for (int i = 0; i < 100 && served.worker().ended.size() < connections; ++i) {
    std::this_thread::sleep_for(milliseconds(20));
    ASSERT_TRUE(served.worker().adopt());
  }
  EXPECT_EQ(served.worker().ended.size(), connections);
}

// Runs bursts apart by about the time after which it dozes, so that some begin while it does.
unsigned count_dozes_between_bursts(unsigned seed) {
  ServedSegment served({.doze_after = kDozeAfter}, {.depth = 4, .seed = seed});
  std::mt19937 random(seed);
  unsigned dozes = 0;
  for (int round = 0; round < 12; ++round) {
    const auto burst = served.run(milliseconds(10));  // on a busy machine, nothing at all
    expect_nothing_wrong(burst);
    EXPECT_EQ(burst.ended_connections, 0U) << burst.summary();
    std::this_thread::sleep_for(milliseconds(900 + random() % 1200));
    // Reads the messages so far.
    served.worker().state = WorkerState::serving;
    if (served.worker().wait_for_state(WorkerState::dozing, milliseconds(0))) ++dozes;
  }
  expect_uninterrupted(served.verify());
  EXPECT_TRUE(served.worker().ended.empty());
  return dozes;
}

TEST_F(Doze, NoRequestIsLostAtTheMomentItDozes) {
  constexpr unsigned kWorkers = 8;
  std::vector<std::future<unsigned>> workers;
  for (unsigned seed = 1; seed <= kWorkers; ++seed) {
    workers.push_back(std::async(std::launch::async, count_dozes_between_bursts, seed));
  }
  unsigned dozes = 0;
  for (auto& worker : workers) dozes += worker.get();
  EXPECT_GT(dozes, kWorkers) << "the bursts were too close to each other";
}

}  // namespace
}  // namespace vramswap::load
