// `down` where the pages do not fit elsewhere: it changes nothing.
#include "tests/unit/supervisor/pool_fixture.hpp"

namespace vramswap {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

TEST_F(PoolTest, DownIsRefusedWherePagesDoNotFit) {
  ASSERT_TRUE(up(1));
  machine_.swap.set_used("/dev/nbd0", 1ULL << 30);
  machine_.swap.memory_info.available_bytes = 1 << 20;
  EXPECT_THAT(down().error().message, HasSubstr("do not fit elsewhere"));
  expect_all_up(1);
  EXPECT_TRUE(down(true));
}

TEST_F(PoolTest, DownIsRefusedWhereAControlGroupIsTooSmall) {
  ASSERT_TRUE(up(2));
  machine_.swap.set_used("/dev/nbd0", 3 << 20);
  machine_.swap.set_used("/dev/nbd1", 1 << 20);
  machine_.swap.crowded = {
      {.name = "/box", .limit = "memory.max", .limit_bytes = 20 << 20, .excess_bytes = 2 << 20}};
  machine_.steps.clear();
  EXPECT_THAT(down().error().message, HasSubstr("2M more would come back into /box than"));
  EXPECT_EQ(machine_.swap.asked_for_bytes, 4U << 20);
  EXPECT_THAT(machine_.steps.names(), IsEmpty());
  expect_all_up(2);
  EXPECT_TRUE(down(true));
}

TEST_F(PoolTest, WhereNothingIsInUseNoControlGroupIsAskedAbout) {
  ASSERT_TRUE(up(1));
  machine_.swap.crowded = {{.name = "/box", .limit = "memory.max", .excess_bytes = 1}};
  EXPECT_TRUE(down());
  EXPECT_EQ(machine_.swap.asked_for_bytes, 0U);
}

TEST_F(PoolTest, DownIsRefusedWhereTheKernelWouldNotLetGoOfTheSwap) {
  ASSERT_TRUE(up(1));
  machine_.swap.memory_commitment = MemoryCommitment{.committed_bytes = 10, .limit_bytes = 10};
  machine_.steps.clear();
  EXPECT_THAT(down().error().message, HasSubstr("vm.overcommit_memory is 2"));
  EXPECT_THAT(machine_.steps.names(), IsEmpty());
  expect_all_up(1);
  EXPECT_TRUE(down(true));
}

}  // namespace
}  // namespace vramswap
