#include "daemon/supervisor/leftovers.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/fake_tree.hpp"

namespace vramswap {
namespace {

using testing::HasSubstr;

const std::string kHeading = "Filename\tType\tSize\tUsed\tPriority\n";

TEST(Leftovers, LiveSwapOfADeadSupervisorIsRefusedByName) {
  const FakeTree tree;
  tree.write("block/nbd3/backend", "vramswap-00c0ffee-0\n");
  tree.write("swaps", kHeading + "/dev/nbd3 partition 65532 0 100\n");
  const auto result =
      disconnect_leftovers(Purpose::swap, "", tree.path("block"), tree.path("swaps"));
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, HasSubstr("/dev/nbd3"));
}

TEST(Leftovers, WhatWasAdoptedIsNoLeftover) {
  const FakeTree tree;
  tree.write("block/nbd3/backend", "vramswap-00c0ffee-0\n");
  tree.write("swaps", kHeading + "/dev/nbd3 partition 65532 0 100\n");
  EXPECT_TRUE(disconnect_leftovers(Purpose::swap, "vramswap-00c0ffee-", tree.path("block"),
                                   tree.path("swaps")));
  const auto result = disconnect_leftovers(Purpose::swap, "vramswap-0ddba115-", tree.path("block"),
                                           tree.path("swaps"));
  EXPECT_FALSE(result);
}

TEST(Leftovers, FindsOurDevices) {
  const FakeTree tree;
  tree.write("block/nbd3/backend", "vramswap-00c0ffee-1\n");
  tree.write("block/nbd4/backend", "somebody\n");
  const auto devices = find_our_devices(Purpose::swap, tree.path("block"));
  ASSERT_EQ(devices.size(), 1U);
  EXPECT_EQ(devices[0].index, 3U);
  EXPECT_EQ(devices[0].identifier, "vramswap-00c0ffee-1");
}

TEST(Leftovers, DevicesOfOthersAreNoneOfOurBusiness) {
  const FakeTree tree;
  tree.write("block/nbd0/backend", "somebody\n");
  tree.write("block/nbd1/size", "0\n");
  tree.write("block/nbdx/backend", "vramswap-00c0ffee-0\n");
  tree.write("block/sda/backend", "vramswap-00c0ffee-0\n");
  tree.write("swaps", kHeading + "/dev/nbd0 partition 65532 0 100\n");
  EXPECT_TRUE(disconnect_leftovers(Purpose::swap, "", tree.path("block"), tree.path("swaps")));
}

TEST(Leftovers, SwapAndScratchLeaveEachOtherAlone) {
  const FakeTree tree;
  tree.write("block/nbd0/backend", "vramswap-00c0ffee-0\n");
  tree.write("block/nbd1/backend", "vramscratch-0ddba115-0\n");
  tree.write("swaps", kHeading + "/dev/nbd0 partition 65532 0 100\n");
  const auto swap = find_our_devices(Purpose::swap, tree.path("block"));
  ASSERT_EQ(swap.size(), 1U);
  EXPECT_EQ(swap[0].index, 0U);
  const auto scratch = find_our_devices(Purpose::scratch, tree.path("block"));
  ASSERT_EQ(scratch.size(), 1U);
  EXPECT_EQ(scratch[0].index, 1U);
  EXPECT_TRUE(disconnect_leftovers(Purpose::scratch, "vramscratch-0ddba115-", tree.path("block"),
                                   tree.path("swaps")));
}

TEST(Leftovers, NoBlockDevicesAtAll) {
  EXPECT_TRUE(disconnect_leftovers(Purpose::swap, "", "/nonexistent", "/nonexistent"));
}

}  // namespace
}  // namespace vramswap
