// `up`, and the things that are left when a step of it fails.
#include "tests/unit/supervisor/pool_fixture.hpp"

namespace vramswap {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST_F(PoolTest, UpAllocatesConnectsFormatsAndSwapsOn) {
  ASSERT_TRUE(up());
  expect_all_up(2);
  EXPECT_THAT(machine_.steps.names(),
              ElementsAre("open nbd", "spawn", "Start", "Create", "Create", "Describe", "Connect",
                          "connect", "Connect", "connect", "Describe", "set queue",
                          "mkswap /dev/nbd0", "swapon /dev/nbd0", "set queue", "mkswap /dev/nbd1",
                          "swapon /dev/nbd1", "Describe"));
  const auto segments = pool_->segments().value();
  EXPECT_EQ(segments[0].priority, 100);
  EXPECT_EQ(segments[1].priority, 99);
}

TEST_F(PoolTest, WhateverStepOfUpFailsAllIsUndone) {
  unsigned failures = 0;
  for (std::size_t step = 0;; ++step) {
    machine_.steps.clear();
    machine_.steps.fail_at(step);
    const auto result = up();
    if (!machine_.steps.has_failed()) break;
    SCOPED_TRACE(machine_.steps.names().at(step));
    if (machine_.steps.names().at(step) == "Describe") {
      // The service manager still has the description, and every later event tries again.
      ASSERT_TRUE(result);
      ASSERT_TRUE(down());
    } else {
      ASSERT_FALSE(result);
      EXPECT_THAT(result.error().message, HasSubstr("ordered to fail"));
    }
    expect_nothing_left();
    ++failures;
  }
  EXPECT_EQ(failures, 18U);
  expect_all_up(2);
}

TEST_F(PoolTest, UpFailsWhenTheWorkerDiesAsItStarts) {
  machine_.launcher.die_at_start = 1;
  const auto result = up();
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, HasSubstr("killed by"));
  expect_nothing_left();
}

// The device exists, so it is used: no other program would ever remove it.
TEST_F(PoolTest, AConnectWhoseAnswerIsLostHasMadeADevice) {
  machine_.nbd.lose_answers = 1;
  ASSERT_TRUE(up());
  expect_all_up(2);
  ASSERT_TRUE(down());
  expect_nothing_left();
}

TEST_F(PoolTest, UpIsRefusedWhileItIsUp) {
  ASSERT_TRUE(up());
  const auto again = up();
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().message,
            "up already: 128M on /dev/nbd0 to /dev/nbd1; run 'vramswap down' first");
  expect_all_up(2);
}

TEST_F(PoolTest, APoolWithoutSwapAreasOnlyConnects) {
  auto scratch = options();
  scratch.makes_swap_area = false;
  scratch.keeps_reserve = false;
  scratch.up_already = "another vramswap bench runs";
  begin_supervisor(scratch);
  ASSERT_TRUE(up(1));
  EXPECT_THAT(states(), ElementsAre("connected"));
  EXPECT_TRUE(machine_.swap.areas()->empty());
  EXPECT_EQ(up(1).error().message, "another vramswap bench runs");
  ASSERT_TRUE(down());
  expect_nothing_left();
}

}  // namespace
}  // namespace vramswap
