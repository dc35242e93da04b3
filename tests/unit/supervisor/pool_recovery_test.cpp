// A worker dies and is replaced.
#include <sys/stat.h>

#include "tests/unit/supervisor/pool_fixture.hpp"

namespace vramswap {
namespace {

using fake::kind_of;
using testing::ElementsAre;
using testing::HasSubstr;

class PoolRecoveryTest : public PoolTest {
 protected:
  // The supervisor works on `up` until it has taken this step, and then waits.
  void up_until(const std::string& step) {
    asio::co_spawn(
        machine_.io, [this]() -> awaitable<void> { up_result_ = co_await pool_->up(request(1)); },
        asio::detached);
    run_until_step(step);
  }
  std::optional<Result<void>> up_result_;
};

TEST_F(PoolRecoveryTest, ADeadWorkerIsReplacedOverTheSameMemory) {
  ASSERT_TRUE(up());
  machine_.steps.clear();
  kill_worker();
  EXPECT_THAT(machine_.steps.names(), testing::Contains("spawn"));
  recover();
  EXPECT_EQ(machine_.steps.names().front(), "spawn");
  EXPECT_THAT(machine_.steps.names(), testing::Not(testing::Contains("Create")));
  EXPECT_EQ(std::ranges::count(machine_.steps.names(), "Import"), 2);
  expect_all_up(2);
  EXPECT_EQ(worker_status().restarts, 1U);
  const auto& worker = machine_.launcher.latest();
  EXPECT_EQ(worker.segments.size(), 2U);
  for (const auto& [id, segment] : worker.segments) {
    EXPECT_EQ(segment.connections.size(), kConnections);
  }
  ASSERT_TRUE(down());
  expect_nothing_left();
}

// In each state that a segment of a worker can be in while `up` makes it.
TEST_F(PoolRecoveryTest, AWorkerDiesAtEachStepOfUp) {
  for (const std::string step :
       {"Start", "Create", "Describe", "Connect", "mkswap /dev/nbd0", "swapon /dev/nbd0"}) {
    SCOPED_TRACE(step);
    machine_.steps.clear();
    up_result_.reset();
    up_until(step);
    machine_.launcher.latest().die();
    machine_.run_until([&] { return up_result_.has_value(); });
    recover();
    if (pool_->is_up()) {
      ASSERT_TRUE(*up_result_) << up_result_->error().message;
      expect_all_up(1);
      ASSERT_TRUE(down());
    } else {
      ASSERT_FALSE(*up_result_);
    }
    expect_nothing_left();
  }
}

TEST_F(PoolRecoveryTest, AWorkerDiesAgainAtEachStepOfItsRecovery) {
  ASSERT_TRUE(up());
  unsigned restarts = 0;
  for (const std::string step : {"Start", "Describe", "Import", "Connect"}) {
    SCOPED_TRACE(step);
    machine_.steps.clear();
    machine_.launcher.latest().die();
    run_until_step(step);
    machine_.launcher.latest().die();
    recover();
    expect_all_up(2);
    EXPECT_EQ(worker_status().restarts, ++restarts);
  }
}

TEST_F(PoolRecoveryTest, AWorkerDiesWhileSwapIsTurnedOn) {
  ASSERT_TRUE(up(1));
  ASSERT_TRUE(down());
  machine_.launcher.die_at_start = 0;
  up_until("mkswap /dev/nbd0");
  // It does not come back before swapon is over.
  machine_.launcher.die_at_start = 3;
  machine_.launcher.latest().die();
  machine_.run_until([&] { return up_result_.has_value(); });
  ASSERT_TRUE(*up_result_) << up_result_->error().message;
  EXPECT_THAT(states(), ElementsAre("interrupted"));
  machine_.pass(std::chrono::seconds(5));
  expect_all_up(1);
}

TEST_F(PoolRecoveryTest, AWorkerThatDiesAtOnceIsStartedAgainAfterPausesThatGrow) {
  ASSERT_TRUE(up(1));
  machine_.launcher.die_at_start = 5;
  kill_worker();
  EXPECT_THAT(worker_status().problem, HasSubstr("killed by"));
  EXPECT_EQ(worker_status().state, "dead");
  const auto began = machine_.clock.now();
  machine_.run_until([&] { return worker_status().state != "dead" && states()[0] == "active"; });
  // 0.1 + 0.2 + 0.4 + 0.8 + 1.6 s.
  EXPECT_EQ(machine_.clock.now() - began, std::chrono::milliseconds(3100));
  EXPECT_EQ(machine_.launcher.workers.size(), 7U);
  recover();
  expect_all_up(1);
}

TEST_F(PoolRecoveryTest, AWorkerThatGivesNoAnswerIsKilledAndReplaced) {
  ASSERT_TRUE(up(1));
  machine_.launcher.latest().answers = false;
  machine_.launcher.latest().die();
  machine_.settle();
  recover();
  expect_all_up(1);
}

// One that a dead supervisor has started, and that comes late, takes no path away.
TEST_F(PoolRecoveryTest, EachWorkerListensAtAPathOfItsOwn) {
  ASSERT_TRUE(up(1));
  const std::string first = machine_.launcher.latest().start.rendezvous;
  EXPECT_THAT(first, testing::StartsWith("/nonexistent/worker-0-"));
  machine_.pass(std::chrono::seconds(1));
  kill_worker();
  recover();
  EXPECT_NE(machine_.launcher.latest().start.rendezvous, first);
}

TEST_F(PoolRecoveryTest, EachWorkerGetsTheNotesOfTheOneBefore) {
  ASSERT_TRUE(up(1));
  const auto notes_of_latest = [&] {
    struct stat status {};
    EXPECT_EQ(fstat(machine_.launcher.latest().copy_notes.get(), &status), 0);
    return status.st_ino;
  };
  const auto first = notes_of_latest();
  kill_worker();
  recover();
  EXPECT_EQ(notes_of_latest(), first);
  // The worker hands them to the next supervisor.
  begin_supervisor();
  ASSERT_TRUE(adopt());
  kill_worker();
  recover();
  EXPECT_EQ(machine_.launcher.workers.size(), 3U);
  EXPECT_EQ(notes_of_latest(), first);
}

TEST_F(PoolRecoveryTest, DownWorksWithAWorkerThatDiesDuringTheScrub) {
  ASSERT_TRUE(up(1));
  std::optional<Result<void>> result;
  asio::co_spawn(
      machine_.io, [&]() -> awaitable<void> { result = co_await pool_->down(false, {}); },
      asio::detached);
  machine_.launcher.latest().dies_at = kind_of<messages::Remove>();
  machine_.run_until([&] { return result.has_value(); });
  ASSERT_TRUE(*result) << result->error().message;
  EXPECT_EQ(machine_.launcher.workers.size(), 2U);
  expect_nothing_left();
}

TEST_F(PoolRecoveryTest, AReloadBesideADeadWorkerIsRefused) {
  ASSERT_TRUE(up(1));
  machine_.launcher.die_at_start = 1000;
  kill_worker();
  const auto result = machine_.run(pool_->replace_workers("/usr/sbin/vramswapd"));
  EXPECT_EQ(result.error().message, "the worker of ram is being replaced already");
}

TEST_F(PoolRecoveryTest, AReloadReplacesTheWorkersProgram) {
  ASSERT_TRUE(up(1));
  ASSERT_TRUE(machine_.run(pool_->replace_workers("/usr/sbin/vramswapd")));
  EXPECT_EQ(machine_.launcher.latest().program, "/usr/sbin/vramswapd");
}

}  // namespace
}  // namespace vramswap
