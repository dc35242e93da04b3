// No worker can import the memory of a store, and at last its content counts as lost.
#include <cerrno>

#include "tests/unit/supervisor/pool_fixture.hpp"

namespace vramswap {
namespace {

using fake::kind_of;
using testing::ElementsAre;

using PoolLostContentTest = PoolTest;

TEST_F(PoolLostContentTest, ContentIsLostOnlyAfterStaleImportsOverALongTime) {
  ASSERT_TRUE(up(1));
  pages(0).set(5, 10, PageState::valid);
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
  EXPECT_EQ(pages(0).count(PageState::lost), 10U);
}

// It may hold the bytes after all: a later import may succeed, by hand or by another program.
TEST_F(PoolLostContentTest, TheDescriptorOfALostStoreIsKeptUntilDown) {
  ASSERT_TRUE(up(1));
  machine_.launcher.fails_with[kind_of<messages::Import>()] = ESTALE;
  kill_worker();
  machine_.pass(std::chrono::minutes(1));
  EXPECT_TRUE(machine_.service_manager.fdstore.contains("lost-store-0-1"));
  EXPECT_TRUE(machine_.service_manager.fdstore.contains("store-0-2"));
  machine_.launcher.fails_with.clear();
  // Neither another supervisor nor another program forgets it.
  begin_supervisor();
  ASSERT_TRUE(adopt(machine_.service_manager.receive_fdstore()));
  expect_all_up(1, 1);
  EXPECT_TRUE(pool_->handover_fds().value().contains("lost-store-0-1"));
  ASSERT_TRUE(down());
  expect_nothing_left();
}

TEST_F(PoolLostContentTest, StaleImportsCountOnlyInARow) {
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
TEST_F(PoolLostContentTest, StaleImportsAreCountedBySegment) {
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
TEST_F(PoolLostContentTest, AShortReconnectTimeoutDoesNotHurryTheVerdict) {
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

TEST_F(PoolLostContentTest, AnImportThatFailsForAMomentLosesNothing) {
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
TEST_F(PoolLostContentTest, PagesThatAWorkerGivesUpAreCounted) {
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

}  // namespace
}  // namespace vramswap
