// A supervisor follows one that has died, over each combination of things that can be left.
#include <cerrno>

#include "daemon/supervisor/pool/adopt.hpp"
#include "tests/unit/supervisor/pool_fixture.hpp"

namespace vramswap {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class PoolAdoptTest : public PoolTest {};

TEST_F(PoolAdoptTest, NothingIsLeft) {
  ASSERT_TRUE(adopt());
  expect_nothing_left();
}

// Without a service manager the worker has all that the next supervisor needs.
TEST_F(PoolAdoptTest, TheWorkerLives) {
  ASSERT_TRUE(up());
  begin_supervisor();
  machine_.steps.clear();
  ASSERT_TRUE(adopt());
  expect_all_up(2);
  EXPECT_THAT(machine_.steps.names(),
              ElementsAre("Adopt", "open nbd", "HandOver", "HandOver", "AbandonMove", "AbandonMove",
                          "Describe", "set request limit", "set request limit"));
  ASSERT_TRUE(down());
  expect_nothing_left();
}

// Its end is not reported yet when the slot gets it.
TEST_F(PoolAdoptTest, TheWorkerDiesOfItsAdoption) {
  ASSERT_TRUE(up());
  begin_supervisor();
  machine_.launcher.latest().dies_after = fake::kind_of<messages::Adopt>();
  ASSERT_TRUE(adopt(fdstore()));
  expect_all_up(2);
  EXPECT_GT(machine_.nbd.reconfigures, 0U);
}

// By an `nbd-client -d`, say: the kernel does not say whose the device was, and it is swap still.
TEST_F(PoolAdoptTest, ASwapAreaWithoutAnIdentifierKeepsItsMemory) {
  ASSERT_TRUE(up(1));
  begin_supervisor();
  machine_.nbd.devices.clear();
  ASSERT_TRUE(adopt(fdstore()));
  EXPECT_TRUE(pool_->is_up());
  EXPECT_TRUE(machine_.swap.is_on("/dev/nbd0"));
  EXPECT_EQ(machine_.launcher.latest().segments.size(), 1U);
  EXPECT_EQ(machine_.service_manager.fdstore.size(), 3U);
  machine_.swap.set_used("/dev/nbd0", 4096);
  EXPECT_FALSE(down());
  EXPECT_EQ(machine_.launcher.latest().segments.size(), 1U);
}

// Its supervisor died in `up`, after the memory was made and before the pool was published.
TEST_F(PoolAdoptTest, MemoryWithoutADescriptionIsNotKept) {
  ASSERT_TRUE(up());
  machine_.launcher.latest().die();
  begin_supervisor();
  std::erase_if(machine_.service_manager.fdstore,
                [](const auto& known) { return known.first.starts_with(kDescriptionName); });
  machine_.nbd.devices.clear();
  machine_.swap.turn_off("/dev/nbd0");
  machine_.swap.turn_off("/dev/nbd1");
  ASSERT_TRUE(adopt(fdstore()));
  EXPECT_THAT(machine_.service_manager.fdstore, IsEmpty());
}

TEST_F(PoolAdoptTest, TheWorkerLivesAndTheMemoryWasKept) {
  ASSERT_TRUE(up());
  begin_supervisor();
  machine_.steps.clear();
  ASSERT_TRUE(adopt(fdstore()));
  expect_all_up(2);
  EXPECT_THAT(machine_.steps.names(),
              ElementsAre("Adopt", "open nbd", "AbandonMove", "AbandonMove", "Describe",
                          "set request limit", "set request limit"));
}

TEST_F(PoolAdoptTest, BothHaveDiedAndTheMemoryWasKept) {
  ASSERT_TRUE(up());
  end_supervisor();
  kill_worker();
  begin_supervisor();
  ASSERT_TRUE(adopt(fdstore()));
  expect_all_up(2);
  EXPECT_EQ(pool_->segments().value()[0].lost_pages, 0U);
  EXPECT_EQ(pool_->segments().value()[0].generation, 0U);
  EXPECT_EQ(worker_status().restarts, 1U);
  ASSERT_TRUE(down());
  expect_nothing_left();
}

TEST_F(PoolAdoptTest, AcrossExecTheMemoryIsPassedOn) {
  ASSERT_TRUE(up());
  auto fds = pool_->handover_fds().value();
  EXPECT_EQ(fds.size(), 5U);
  end_supervisor();
  kill_worker();
  begin_supervisor();
  ASSERT_TRUE(adopt(std::move(fds)));
  expect_all_up(2);
}

// The description is there, the stores are not: all pages are lost, and none is invented.
TEST_F(PoolAdoptTest, BothHaveDiedAndOnlyTheDescriptionWasKept) {
  ASSERT_TRUE(up(1));
  end_supervisor();
  kill_worker();
  auto fds = fdstore();
  fds.erase("page-map-0");
  fds.erase("store-0");
  begin_supervisor();
  ASSERT_TRUE(adopt(std::move(fds)));
  expect_all_up(1);
  EXPECT_EQ(pool_->segments().value()[0].generation, 1U);
  EXPECT_EQ(pages(0).count(PageState::lost), kSegmentBytes / kPageBytes);
}

// A page map without its store would call pages valid that are not there.
TEST_F(PoolAdoptTest, APageMapWithoutItsStoreIsNotEnough) {
  ASSERT_TRUE(up(1));
  end_supervisor();
  kill_worker();
  auto fds = fdstore();
  fds.erase("store-0");
  begin_supervisor();
  ASSERT_TRUE(adopt(std::move(fds)));
  expect_all_up(1);
  EXPECT_EQ(pages(0).count(PageState::valid), 0U);
}

// Somebody else has swapped it off, and may want it on again.
TEST_F(PoolAdoptTest, ADeviceThatWasSwapIsKeptThoughItIsOff) {
  ASSERT_TRUE(up());
  machine_.swap.turn_off("/dev/nbd1");
  begin_supervisor();
  ASSERT_TRUE(adopt());
  EXPECT_THAT(states(), testing::ElementsAre("active", "off"));
  ASSERT_TRUE(up());
  expect_all_up(2);
}

// Its path in /proc/swaps is of a mount namespace that went with the dead supervisor.
TEST_F(PoolAdoptTest, ADeviceThatTheKernelHoldsCountsAsSwap) {
  ASSERT_TRUE(up(1));
  end_supervisor();
  kill_worker();
  machine_.swap.turn_off("/dev/nbd0");
  machine_.swap.held.insert("/dev/nbd0");
  begin_supervisor();
  machine_.steps.clear();
  ASSERT_TRUE(adopt(fdstore()));
  recover();
  EXPECT_THAT(states(), ElementsAre("active"));
  EXPECT_TRUE(machine_.nbd.devices.contains(0));
  EXPECT_THAT(machine_.steps.names(), testing::Not(testing::Contains("Remove")));
}

TEST_F(PoolAdoptTest, AWorkerThatWasBeingSetUpGetsItsConnections) {
  ASSERT_TRUE(up(1));
  begin_supervisor();
  machine_.launcher.latest().segments.at(0).connections.clear();
  ASSERT_TRUE(adopt());
  expect_all_up(1);
  EXPECT_EQ(machine_.launcher.latest().segments.at(0).connections.size(), kConnections);
}

TEST_F(PoolAdoptTest, AWorkerThatWasBeingSetUpGetsItsStore) {
  ASSERT_TRUE(up(1));
  begin_supervisor();
  machine_.launcher.latest().segments.clear();
  ASSERT_TRUE(adopt(fdstore()));
  expect_all_up(1);
  EXPECT_EQ(machine_.launcher.latest().segments.size(), 1U);
}

TEST_F(PoolAdoptTest, AWorkerWithoutADescriptionIsStopped) {
  ASSERT_TRUE(up(1));
  begin_supervisor();
  auto& worker = machine_.launcher.latest();
  worker.description.clear();
  worker.segments.at(0).connections.clear();
  machine_.service_manager.fdstore.clear();
  machine_.nbd.devices.clear();
  machine_.swap.turn_off("/dev/nbd0");
  ASSERT_TRUE(adopt());
  expect_nothing_left();
}

TEST_F(PoolAdoptTest, AWorkerThatServesButKnowsNoPoolIsLeftAlone) {
  ASSERT_TRUE(up(1));
  machine_.launcher.latest().description.clear();
  begin_supervisor();
  const auto result = adopt();
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, HasSubstr("has no description of its pool"));
  EXPECT_EQ(living_workers(), 1U);
  EXPECT_EQ(machine_.nbd.devices.size(), 1U);
}

TEST_F(PoolAdoptTest, AnotherVersionIsLeftAlone) {
  ASSERT_TRUE(up(1));
  auto& text = machine_.launcher.latest().description;
  const auto at = text.find("\"version\":" + std::to_string(messages::kVersion));
  ASSERT_NE(at, std::string::npos);
  text.replace(at, 11, "\"version\":1");
  begin_supervisor();
  const auto result = adopt();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, EPROTO);
  EXPECT_EQ(living_workers(), 1U);
}

TEST_F(PoolAdoptTest, AReloadRightAfterAnAdoptionWithADeadWorkerIsRefused) {
  ASSERT_TRUE(up(1));
  auto fds = pool_->handover_fds().value();
  end_supervisor();
  kill_worker();
  begin_supervisor();
  machine_.launcher.die_at_start = 1000;
  ASSERT_TRUE(machine_.run(pool_->adopt(std::move(fds))));
  EXPECT_FALSE(machine_.run(pool_->replace_workers("/usr/sbin/vramswapd")));
  machine_.launcher.die_at_start = 0;
  machine_.pass(std::chrono::seconds(20));
  expect_all_up(1);
}

TEST_F(PoolAdoptTest, TheNextSupervisorReportsEarlierLosses) {
  ASSERT_TRUE(up(1));
  pages(0).set(0, 3, PageState::valid);
  machine_.launcher.fails_with[fake::kind_of<messages::Import>()] = ESTALE;
  kill_worker();
  machine_.pass(std::chrono::minutes(1));
  begin_supervisor();
  ASSERT_TRUE(adopt());
  EXPECT_EQ(pool_->segments().value()[0].lost_pages, 3U);
  EXPECT_EQ(pool_->segments().value()[0].generation, 1U);
}

// A worker that follows a dead one is not killed for the dead one's missing answers.
TEST_F(PoolAdoptTest, AWorkerThatDiesWhileItIsGivenItsStoreIsReplacedOnce) {
  ASSERT_TRUE(up(1));
  auto& worker = machine_.launcher.latest();
  begin_supervisor();
  worker.segments.clear();
  worker.dies_at = fake::kind_of<messages::Import>();
  ASSERT_TRUE(adopt(fdstore()));
  expect_all_up(1);
  EXPECT_EQ(machine_.launcher.workers.size(), 2U);
}

TEST_F(PoolAdoptTest, LeftoversWithoutSwapAreDisconnected) {
  machine_.nbd.devices[3].identifier = "vramswap-00c0ffee-0";
  machine_.nbd.devices[4].identifier = "vramscratch-00c0ffee-0";
  machine_.nbd.devices[5].identifier = "vramswap-0ddba115-0";
  auto clean = disconnect_leftovers(machine_.interfaces, "vramswap-", "vramswap-0ddba115-");
  ASSERT_TRUE(machine_.run(std::move(clean)));
  EXPECT_FALSE(machine_.nbd.devices.contains(3));
  EXPECT_TRUE(machine_.nbd.devices.contains(4));
  EXPECT_TRUE(machine_.nbd.devices.contains(5));
}

TEST_F(PoolAdoptTest, LeftoversThatAreHeldAreRefused) {
  machine_.nbd.devices[3].identifier = "vramswap-00c0ffee-0";
  machine_.swap.held.insert("/dev/nbd3");
  const auto result = machine_.run(disconnect_leftovers(machine_.interfaces, "vramswap-", ""));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, EOWNERDEAD);
  EXPECT_THAT(result.error().message, HasSubstr("/dev/nbd3: is in use"));
  EXPECT_TRUE(machine_.nbd.devices.contains(3));
}

TEST_F(PoolAdoptTest, LiveSwapOfADeadSupervisorIsRefusedByName) {
  machine_.nbd.devices[3].identifier = "vramswap-00c0ffee-0";
  ASSERT_TRUE(machine_.run(machine_.swap.on("/dev/nbd3", 100)));
  const auto result = machine_.run(disconnect_leftovers(machine_.interfaces, "vramswap-", ""));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, EOWNERDEAD);
  EXPECT_THAT(result.error().message, HasSubstr("/dev/nbd3"));
  EXPECT_EQ(machine_.nbd.devices.size(), 1U);
}

}  // namespace
}  // namespace vramswap
