#include "daemon/supervisor/leftovers.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/supervisor/fake_tree.hpp"

namespace vramswap {
namespace {

using testing::HasSubstr;

constexpr std::string_view kHeading = "Filename\tType\tSize\tUsed\tPriority\n";

TEST(Leftovers, LiveSwapOfADeadSupervisorIsRefusedByName) {
  const FakeTree tree;
  tree.write("block/nbd3/backend", "vramswap-00c0ffee-0\n");
  tree.write("swaps", std::string(kHeading) + "/dev/nbd3 partition 65532 0 100\n");
  const auto result = disconnect_leftovers("", tree.path("block"), tree.path("swaps"));
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, HasSubstr("/dev/nbd3"));
}

TEST(Leftovers, WhatWasAdoptedIsNoLeftover) {
  const FakeTree tree;
  tree.write("block/nbd3/backend", "vramswap-00c0ffee-0\n");
  tree.write("swaps", std::string(kHeading) + "/dev/nbd3 partition 65532 0 100\n");
  EXPECT_TRUE(disconnect_leftovers("vramswap-00c0ffee-", tree.path("block"), tree.path("swaps")));
  const auto result =
      disconnect_leftovers("vramswap-0ddba115-", tree.path("block"), tree.path("swaps"));
  EXPECT_FALSE(result);
}

TEST(Leftovers, FindsOurDevices) {
  const FakeTree tree;
  tree.write("block/nbd3/backend", "vramswap-00c0ffee-1\n");
  tree.write("block/nbd4/backend", "somebody\n");
  const auto devices = find_our_devices(tree.path("block"));
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
  tree.write("swaps", std::string(kHeading) + "/dev/nbd0 partition 65532 0 100\n");
  EXPECT_TRUE(disconnect_leftovers("", tree.path("block"), tree.path("swaps")));
}

TEST(Leftovers, NoBlockDevicesAtAll) {
  EXPECT_TRUE(disconnect_leftovers("", "/nonexistent", "/nonexistent"));
}

}  // namespace
}  // namespace vramswap
