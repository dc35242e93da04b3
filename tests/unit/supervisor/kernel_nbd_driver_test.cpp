#include "daemon/supervisor/machine/kernel_nbd_driver.hpp"

#include <gtest/gtest.h>

#include "tests/support/fake_tree.hpp"

namespace vramswap {
namespace {

TEST(KernelNbdDriver, FindsConnectedDevicesByTheirIdentifier) {
  const FakeTree tree;
  tree.write("block/nbd0/backend", "vramswap-00c0ffee-0\n");
  tree.write("block/nbd1/backend", "vramscratch-0ddba115-0\n");
  tree.write("block/nbd2/size", "0\n");
  tree.write("block/nbd12/backend", "somebody else's\n");
  tree.write("block/nbdx/backend", "vramswap-00c0ffee-1\n");
  tree.write("block/sda/backend", "vramswap-00c0ffee-2\n");
  asio::io_context io;
  const KernelNbdDriver driver(io, tree.path("block"));
  const auto swap = driver.find_devices("vramswap-");
  ASSERT_EQ(swap.size(), 1U);
  EXPECT_EQ(swap[0].index, 0U);
  EXPECT_EQ(swap[0].identifier, "vramswap-00c0ffee-0");
  const auto scratch = driver.find_devices("vramscratch-");
  ASSERT_EQ(scratch.size(), 1U);
  EXPECT_EQ(scratch[0].index, 1U);
}

TEST(KernelNbdDriver, NoBlockDevicesAtAll) {
  asio::io_context io;
  EXPECT_TRUE(KernelNbdDriver(io, "/nonexistent").find_devices("vramswap-").empty());
}

}  // namespace
}  // namespace vramswap
