// A worker dies, a connection ends, content is lost.
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

TEST_F(PoolRecoveryTest, SocketsThatTheKernelDropsSilentlyAreOfferedAgain) {
  ASSERT_TRUE(up(1));
  machine_.nbd.drop_silently = 2;
  machine_.nbd.reconfigures = 0;
  kill_worker();
  recover();
  EXPECT_EQ(machine_.nbd.reconfigures, 3U);
  expect_all_up(1);
  // No id is used a second time.
  const auto& connections = machine_.launcher.latest().segments.at(0).connections;
  EXPECT_EQ(connections.rbegin()->first, 4 * kConnections);
}

TEST_F(PoolRecoveryTest, AKernelThatTakesNoSocketsIsOfferedThemForEver) {
  ASSERT_TRUE(up(1));
  machine_.nbd.drop_silently = 100;
  kill_worker();
  machine_.pass(std::chrono::milliseconds(1050));
  EXPECT_THAT(worker_status().problem, HasSubstr("the kernel takes no new sockets"));
  EXPECT_THAT(states(), ElementsAre("interrupted"));
  machine_.pass(std::chrono::minutes(2));
  expect_all_up(1);
  EXPECT_EQ(machine_.launcher.workers.size(), 2U);
  EXPECT_EQ(worker_status().restarts, 1U);
}

// The kernel has taken the sockets, only its answer was lost.
TEST_F(PoolRecoveryTest, AReconfigureWhoseAnswerIsLostIsNoReasonToKillTheWorker) {
  ASSERT_TRUE(up(1));
  machine_.nbd.lose_answers = 1;
  machine_.nbd.reconfigures = 0;
  kill_worker();
  recover();
  EXPECT_EQ(machine_.nbd.reconfigures, 1U);
  EXPECT_EQ(machine_.launcher.workers.size(), 2U);
  expect_all_up(1);
}

TEST_F(PoolRecoveryTest, AWorkerIsNotKilledForWhatTheSupervisorLacksForAMoment) {
  ASSERT_TRUE(up(2));
  machine_.nbd.refuse_sockets = 70;
  kill_worker();
  machine_.pass(std::chrono::seconds(1));
  EXPECT_THAT(worker_status().problem, HasSubstr("EMFILE"));
  machine_.pass(std::chrono::minutes(2));
  EXPECT_EQ(machine_.launcher.workers.size(), 2U);
  expect_all_up(2);
}

TEST_F(PoolRecoveryTest, AConnectionIsOfferedUntilTheKernelTakesIt) {
  ASSERT_TRUE(up(1));
  auto& worker = machine_.launcher.latest();
  for (const bool is_refused : {true, false}) {
    auto& connections = worker.segments.at(0).connections;
    const auto ended = connections.rbegin()->first;
    connections.erase(ended);
    (is_refused ? machine_.nbd.refuse_reconfigures : machine_.nbd.drop_silently) = 80;
    worker.tell(messages::ConnectionEnded{0, ended, ConnectionEnd::hung_up});
    machine_.pass(std::chrono::seconds(60));
    EXPECT_FALSE(worker_status().problem.empty());
    EXPECT_THAT(states(), ElementsAre("active"));
    machine_.pass(std::chrono::seconds(60));
    expect_all_up(1);
    EXPECT_EQ(machine_.launcher.workers.size(), 1U);
  }
  ASSERT_TRUE(down());
  expect_nothing_left();
}

TEST_F(PoolRecoveryTest, AConnectionWhoseEndWasNotReportedIsReplacedAllTheSame) {
  ASSERT_TRUE(up(1));
  auto& connections = machine_.launcher.latest().segments.at(0).connections;
  connections.erase(1);
  machine_.pass(std::chrono::seconds(11));
  EXPECT_TRUE(connections.contains(kConnections + 1));
  expect_all_up(1);
}

// The new worker has none of the sockets that the old one took just before it died.
TEST_F(PoolRecoveryTest, AWorkerThatDiesRightAfterItTookSocketsLeavesNoneThatCountAsConnected) {
  ASSERT_TRUE(up(1));
  auto* worker = &machine_.launcher.latest();
  worker->segments.at(0).connections.erase(1);
  worker->tell(messages::ConnectionEnded{0, 1, ConnectionEnd::hung_up});
  machine_.steps.clear();
  run_until_step("Connect");
  worker->die();
  recover();
  EXPECT_EQ(machine_.launcher.latest().segments.at(0).connections.size(), kConnections);
  expect_all_up(1);
}

TEST_F(PoolRecoveryTest, AConnectionThatEndsIsReplacedAlone) {
  ASSERT_TRUE(up(1));
  auto& worker = machine_.launcher.latest();
  auto& connections = worker.segments.at(0).connections;
  connections.erase(1);  // the kernel shut it down, or the worker found it broken
  worker.tell(messages::ConnectionEnded{0, 1, ConnectionEnd::hung_up});
  machine_.steps.clear();
  recover();
  EXPECT_THAT(machine_.steps.names(), ElementsAre("Connect", "reconfigure"));
  EXPECT_TRUE(connections.contains(kConnections + 1));
  EXPECT_EQ(connections.at(kConnections + 1).first, 0U);
  // A late report of the old one's end is not taken for its successor's.
  worker.tell(messages::ConnectionEnded{0, 1, ConnectionEnd::hung_up});
  machine_.steps.clear();
  recover();
  EXPECT_TRUE(machine_.steps.names().empty());
}

TEST_F(PoolRecoveryTest, ASegmentIsRemovedOnlyWhenItsConnectionsAreNoLongerBeingRestored) {
  ASSERT_TRUE(up());
  auto& worker = machine_.launcher.latest();
  worker.segments.at(1).connections.erase(1);
  worker.tell(messages::ConnectionEnded{1, 1, ConnectionEnd::hung_up});
  machine_.nbd.drop_silently = 10;
  machine_.settle();
  ASSERT_TRUE(down());
  expect_nothing_left();
  machine_.pass(std::chrono::seconds(5));
}

TEST_F(PoolRecoveryTest, ContentIsLostOnlyAfterStaleImportsOverALongTime) {
  ASSERT_TRUE(up(1));
  {
    const auto& segment = machine_.launcher.latest().segments.at(0);
    PageMap::map(segment.page_map.get(), kSegmentBytes / kPageBytes)
        .value()
        .set(5, 10, PageState::valid);
  }
  machine_.launcher.fails_with[kind_of<messages::Import>()] = ESTALE;
  kill_worker();
  machine_.pass(std::chrono::seconds(25));
  EXPECT_EQ(pool_->segments().value()[0].lost_pages, 0U);
  machine_.pass(std::chrono::seconds(20));
  const auto segment = pool_->segments().value()[0];
  EXPECT_EQ(segment.lost_pages, 10U);
  EXPECT_EQ(segment.generation, 1U);
  EXPECT_EQ(segment.lost_at, machine_.clock.wall_time());
  expect_all_up(1, 1);
  const auto& held = machine_.launcher.latest().segments.at(0);
  const auto pages = PageMap::map(held.page_map.get(), kSegmentBytes / kPageBytes);
  EXPECT_EQ(pages->count(PageState::lost), 10U);
}

// It may hold the bytes after all: a later import may succeed, by hand or by another program.
TEST_F(PoolRecoveryTest, TheDescriptorOfALostStoreIsKeptUntilDown) {
  ASSERT_TRUE(up(1));
  machine_.launcher.fails_with[kind_of<messages::Import>()] = ESTALE;
  kill_worker();
  machine_.pass(std::chrono::minutes(1));
  EXPECT_TRUE(machine_.service_manager.fdstore.contains("lost-store-0-1"));
  EXPECT_TRUE(machine_.service_manager.fdstore.contains("store-0"));
  machine_.launcher.fails_with.clear();
  // Neither another supervisor nor another program forgets it.
  begin_supervisor();
  ASSERT_TRUE(adopt(machine_.service_manager.receive_fdstore()));
  expect_all_up(1, 1);
  EXPECT_TRUE(pool_->handover_fds().value().contains("lost-store-0-1"));
  ASSERT_TRUE(down());
  expect_nothing_left();
}

TEST_F(PoolRecoveryTest, StaleImportsCountOnlyInARow) {
  ASSERT_TRUE(up(1));
  auto& fails_with = machine_.launcher.fails_with[kind_of<messages::Import>()];
  kill_worker();
  for (int i = 0; i < 10; ++i) {
    fails_with = ESTALE;
    machine_.launcher.latest().die();
    machine_.pass(std::chrono::seconds(20));
    fails_with = ENOMEM;
    machine_.pass(std::chrono::seconds(20));
  }
  EXPECT_EQ(pool_->segments().value()[0].generation, 0U);
  machine_.launcher.fails_with.clear();
  machine_.pass(std::chrono::seconds(20));
  expect_all_up(1);
}

// One segment's loss says nothing of the next one's.
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

TEST_F(PoolRecoveryTest, StaleImportsAreCountedBySegment) {
  ASSERT_TRUE(up(2));
  machine_.launcher.stale_segments = {0};
  kill_worker();
  machine_.pass(std::chrono::minutes(1));
  expect_all_up(2, 1);
  EXPECT_EQ(pool_->segments().value()[0].generation, 1U);
  EXPECT_EQ(pool_->segments().value()[1].generation, 0U);
  machine_.launcher.stale_segments = {1};
  kill_worker();
  machine_.pass(std::chrono::seconds(1));
  machine_.launcher.stale_segments.clear();
  machine_.pass(std::chrono::minutes(1));
  EXPECT_EQ(pool_->segments().value()[1].generation, 0U);
}

// The kernel fails I/O after the reconnect time-out. That does not make the evidence better.
TEST_F(PoolRecoveryTest, AShortReconnectTimeoutDoesNotHurryTheVerdict) {
  auto short_request = request(1);
  short_request.reconnect_timeout = std::chrono::seconds(8);
  ASSERT_TRUE(machine_.run(pool_->up(short_request)));
  machine_.launcher.fails_with[kind_of<messages::Import>()] = ESTALE;
  kill_worker();
  machine_.pass(std::chrono::seconds(25));
  EXPECT_EQ(pool_->segments().value()[0].generation, 0U);
  machine_.pass(std::chrono::seconds(20));
  EXPECT_EQ(pool_->segments().value()[0].generation, 1U);
}

TEST_F(PoolRecoveryTest, AnImportThatFailsForAMomentLosesNothing) {
  ASSERT_TRUE(up(1));
  machine_.launcher.fails_with[kind_of<messages::Import>()] = ENOMEM;
  kill_worker();
  machine_.pass(std::chrono::seconds(30));
  EXPECT_THAT(states(), ElementsAre("interrupted"));
  machine_.launcher.fails_with.clear();
  machine_.pass(std::chrono::seconds(20));
  expect_all_up(1);
  EXPECT_EQ(pool_->segments().value()[0].generation, 0U);
}

// A worker that has found the page which killed those before it says so in the page map.
TEST_F(PoolRecoveryTest, PagesThatAWorkerGivesUpAreCounted) {
  ASSERT_TRUE(up(2));
  machine_.launcher.gives_up_in = {1};
  kill_worker();
  recover();
  expect_all_up(2);
  EXPECT_EQ(pool_->segments().value()[0].lost_pages, 0U);
  EXPECT_EQ(pool_->segments().value()[1].lost_pages, 1U);
  EXPECT_EQ(pool_->segments().value()[1].lost_at, machine_.clock.wall_time());
  EXPECT_EQ(pool_->segments().value()[1].generation, 0U);
  kill_worker();
  recover();
  EXPECT_EQ(pool_->segments().value()[1].lost_pages, 1U);
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
