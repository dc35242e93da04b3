// Connections end, and the kernel takes others late or not at all.
#include "tests/unit/supervisor/pool_fixture.hpp"

namespace vramswap {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

using PoolConnectionsTest = PoolTest;

TEST_F(PoolConnectionsTest, SocketsThatTheKernelDropsSilentlyAreOfferedAgain) {
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

TEST_F(PoolConnectionsTest, AKernelThatTakesNoSocketsIsOfferedThemForever) {
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
TEST_F(PoolConnectionsTest, AReconfigureWhoseAnswerIsLostIsNoReasonToKillTheWorker) {
  ASSERT_TRUE(up(1));
  machine_.nbd.lose_answers = 1;
  machine_.nbd.reconfigures = 0;
  kill_worker();
  recover();
  EXPECT_EQ(machine_.nbd.reconfigures, 1U);
  EXPECT_EQ(machine_.launcher.workers.size(), 2U);
  expect_all_up(1);
}

TEST_F(PoolConnectionsTest, AWorkerIsNotKilledWhenTheSupervisorBrieflyLacksResources) {
  ASSERT_TRUE(up(2));
  machine_.nbd.refuse_sockets = 70;
  kill_worker();
  machine_.pass(std::chrono::seconds(1));
  EXPECT_THAT(worker_status().problem, HasSubstr("EMFILE"));
  machine_.pass(std::chrono::minutes(2));
  EXPECT_EQ(machine_.launcher.workers.size(), 2U);
  expect_all_up(2);
}

TEST_F(PoolConnectionsTest, AConnectionIsOfferedUntilTheKernelTakesIt) {
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

TEST_F(PoolConnectionsTest, AConnectionWhoseEndWasNotReportedIsReplacedToo) {
  ASSERT_TRUE(up(1));
  auto& connections = machine_.launcher.latest().segments.at(0).connections;
  connections.erase(1);
  machine_.pass(std::chrono::seconds(11));
  EXPECT_TRUE(connections.contains(kConnections + 1));
  expect_all_up(1);
}

// The new worker has none of the sockets that the old one took just before it died.
TEST_F(PoolConnectionsTest, AWorkerThatDiesRightAfterItTookSocketsLeavesNoneThatCountAsConnected) {
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

TEST_F(PoolConnectionsTest, AConnectionThatEndsIsReplacedAlone) {
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

TEST_F(PoolConnectionsTest, ASegmentIsRemovedOnlyWhenItsConnectionsAreNoLongerBeingRestored) {
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

}  // namespace
}  // namespace vramswap
