// The queue of a segment that has lost pages, and what status says of them.
#include "tests/unit/supervisor/pool_fixture.hpp"

namespace vramswap {
namespace {

using fake::kind_of;

class PoolLostPagesTest : public PoolTest {
 protected:
  // The worker finds the bytes of a page wrong, and says so.
  void corrupt(std::uint32_t segment, std::uint64_t page) {
    pages(segment).lose_corrupt(page);
    tell(segment);
  }
  void write(std::uint32_t segment, std::uint64_t page) {
    pages(segment).set_valid(page, 1);
    tell(segment);
  }
  void tell(std::uint32_t segment) {
    machine_.launcher.latest().tell(messages::LostPagesChanged{segment});
    machine_.settle();
  }
  std::uint64_t limit(std::uint32_t device) { return machine_.nbd.request_limits.at(device); }
  control::SegmentStatus status(std::size_t segment) {
    return pool_->segments().value().at(segment);
  }
};

TEST_F(PoolLostPagesTest, RequestsAreOfOnePageWhileOneIsLost) {
  ASSERT_TRUE(up(2));
  const auto usual = limit(0);
  ASSERT_GT(usual, kPageBytes);
  corrupt(1, 7);
  EXPECT_EQ(limit(1), kPageBytes);
  EXPECT_EQ(limit(0), usual);
  corrupt(1, 8);
  write(1, 7);
  EXPECT_EQ(limit(1), kPageBytes);
  write(1, 8);
  EXPECT_EQ(limit(1), usual);
}

TEST_F(PoolLostPagesTest, StatusCountsThem) {
  ASSERT_TRUE(up(2));
  EXPECT_EQ(status(1).lost_at, 0);
  corrupt(1, 7);
  corrupt(1, 8);
  write(1, 7);
  EXPECT_EQ(status(1).lost_pages, 2U);
  EXPECT_EQ(status(1).corrupt_pages, 2U);
  EXPECT_EQ(status(1).generation, 0U);
  EXPECT_EQ(status(1).lost_at, machine_.clock.wall_time());
  EXPECT_EQ(status(0).lost_pages, 0U);
}

TEST_F(PoolLostPagesTest, AnUnreportedLossIsNoticedWithinSeconds) {
  ASSERT_TRUE(up(1));
  pages(0).lose_corrupt(7);
  machine_.pass(std::chrono::seconds(11));
  EXPECT_EQ(limit(0), kPageBytes);
  EXPECT_EQ(status(0).corrupt_pages, 1U);
  // Or at once, when it dies.
  pages(0).lose_corrupt(8);
  kill_worker();
  recover();
  EXPECT_EQ(status(0).corrupt_pages, 2U);
}

TEST_F(PoolLostPagesTest, AQueueThatCannotBeSetIsTriedAgain) {
  ASSERT_TRUE(up(1));
  machine_.steps.fail_at(0);
  corrupt(0, 7);
  EXPECT_GT(limit(0), kPageBytes);
  machine_.pass(std::chrono::seconds(11));
  EXPECT_EQ(limit(0), kPageBytes);
}

TEST_F(PoolLostPagesTest, ALostStoreNarrowsTheQueueWhenItIsServedAgain) {
  ASSERT_TRUE(up(1));
  pages(0).set_valid(5, 1);
  machine_.launcher.fails_with[kind_of<messages::Import>()] = ESTALE;
  kill_worker();
  run_until_step("set request limit");
  EXPECT_TRUE(machine_.launcher.latest().serves_somebody());
  machine_.pass(std::chrono::minutes(1));
  EXPECT_EQ(limit(0), kPageBytes);
  EXPECT_EQ(status(0).lost_pages, 1U);
  EXPECT_EQ(status(0).corrupt_pages, 0U);
}

TEST_F(PoolLostPagesTest, TheNextSupervisorContinues) {
  ASSERT_TRUE(up(2));
  const auto usual = limit(0);
  corrupt(0, 7);
  corrupt(1, 7);
  begin_supervisor();
  // While there is none.
  pages(0).set_valid(7, 1);
  pages(1).lose_corrupt(9);
  ASSERT_TRUE(adopt());
  EXPECT_EQ(limit(0), usual);
  EXPECT_EQ(limit(1), kPageBytes);
  EXPECT_EQ(status(0).corrupt_pages, 1U);
  EXPECT_EQ(status(1).corrupt_pages, 2U);
  write(1, 7);
  write(1, 9);
  EXPECT_EQ(limit(1), usual);
}

TEST_F(PoolLostPagesTest, DownGivesTheDeviceItsQueueBack) {
  ASSERT_TRUE(up(1));
  const auto usual = limit(0);
  corrupt(0, 7);
  ASSERT_EQ(limit(0), kPageBytes);
  ASSERT_TRUE(down());
  EXPECT_EQ(limit(0), usual);
  expect_nothing_left();
}

// A swapoff that fails leaves the swap on.
TEST_F(PoolLostPagesTest, ADownThatFailsLeavesTheLimit) {
  ASSERT_TRUE(up(2));
  corrupt(1, 7);
  machine_.steps.clear();
  machine_.nbd.refuses_disconnect = true;
  EXPECT_FALSE(down());
  EXPECT_EQ(limit(1), kPageBytes);
}

}  // namespace
}  // namespace vramswap
