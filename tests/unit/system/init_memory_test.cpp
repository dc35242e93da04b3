#include "daemon/system/init_memory.hpp"

#include <gtest/gtest.h>

#include "tests/support/temp_directory.hpp"

namespace vramswap {
namespace {

class InitMemoryTest : public testing::Test {
 protected:
  bool is_outside(const char* status, const char* memory_stat) {
    directory_.write("status", status);
    directory_.write("memory.stat", memory_stat);
    return init_has_memory_outside_its_group((directory_ / "status").string(),
                                             directory_.path().string());
  }

  TempDirectory directory_;
};

constexpr const char* kStatus =
    "Name:\tsystemd\nVmRSS:\t 9000 kB\nRssAnon:\t    4000 kB\nVmSwap:\t 0 kB\n";

TEST_F(InitMemoryTest, IsInItsGroupWhereTheGroupCountsAsMuch) {
  EXPECT_FALSE(is_outside(kStatus, "anon 4096000\nfile 0\n"));
  // The kernel's account comes late.
  EXPECT_FALSE(is_outside(kStatus, "anon 3900000\nfile 0\n"));
}

TEST_F(InitMemoryTest, IsOutsideWhereTheGroupCountsLess) {
  EXPECT_TRUE(is_outside(kStatus, "anon 2000000\nfile 9000000\n"));
}

TEST_F(InitMemoryTest, PagesInSwapAreOutside) {
  EXPECT_TRUE(is_outside("RssAnon:\t4000 kB\nVmSwap:\t4 kB\n", "anon 4096000\n"));
}

TEST_F(InitMemoryTest, WithoutAnAccountNothingIsOutside) {
  EXPECT_FALSE(is_outside(kStatus, "file 0\n"));
  EXPECT_FALSE(is_outside("Name:\tsystemd\n", "anon 0\n"));
  EXPECT_FALSE(init_has_memory_outside_its_group("/nonexistent", "/nonexistent"));
}

}  // namespace
}  // namespace vramswap
