#include "daemon/supervisor/machine/nbd_path.hpp"

#include <gtest/gtest.h>
#include <sys/sysmacros.h>

#include "tests/support/fake_tree.hpp"

namespace vramswap {
namespace {

class NbdPathTest : public testing::Test {
 protected:
  NbdPathTest() {
    tree_.write("block/nbd0/dev", "43:0\n");
    tree_.write("block/nbd1/dev", "43:32\n");
    tree_.write("block/vda/dev", "254:0\n");
  }
  std::optional<std::string> path(const std::string& shown, std::optional<dev_t> number = {},
                                  const std::string& type = "partition") const {
    return nbd_path({.path = shown, .type = type}, number, tree_.path("block"));
  }

  const FakeTree tree_;
};

TEST_F(NbdPathTest, TheDeviceNumberDecides) {
  EXPECT_EQ(path("/dev/nbd1", makedev(43, 32)), "/dev/nbd1");
  EXPECT_EQ(path("/dev/swap", makedev(43, 32)), "/dev/nbd1");
  EXPECT_EQ(path("/dev/nbd0", makedev(43, 32)), "/dev/nbd1");
  EXPECT_EQ(path("/dev/nbd0", makedev(254, 0)), std::nullopt);
  EXPECT_EQ(path("/dev/vda", makedev(254, 0)), std::nullopt);
}

// A mount namespace that is gone, a file that is gone, a namespace where sysfs is not.
TEST_F(NbdPathTest, OtherwiseTheName) {
  EXPECT_EQ(path("/nbd12"), "/dev/nbd12");
  EXPECT_EQ(path("nbd12"), "/dev/nbd12");
  EXPECT_EQ(path("/dev/nbd3 (deleted)"), "/dev/nbd3");
  EXPECT_EQ(path("/dev/nbd3", makedev(43, 96)), "/dev/nbd3");
}

TEST_F(NbdPathTest, NoNbdDevice) {
  EXPECT_EQ(path("/dev/vda2"), std::nullopt);
  EXPECT_EQ(path("/dev/nbd"), std::nullopt);
  EXPECT_EQ(path("/dev/nbd0p1"), std::nullopt);
  EXPECT_EQ(path("/var/nbd0", {}, "file"), std::nullopt);
}

}  // namespace
}  // namespace vramswap
