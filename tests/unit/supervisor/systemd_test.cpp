#include "daemon/supervisor/machine/systemd.hpp"

#include <gtest/gtest.h>

namespace vramswap {
namespace {

TEST(Systemd, TellsARestartFromAStop) {
  EXPECT_TRUE(lists_restart("1204 vramswap.service restart running\n"));
  EXPECT_TRUE(lists_restart("7 vramswap.service try-restart waiting\n"));
  EXPECT_FALSE(lists_restart("1204 vramswap.service stop running\n"));
  EXPECT_FALSE(lists_restart("No jobs running.\n"));
  EXPECT_FALSE(lists_restart(""));
}

TEST(Systemd, TellsJobsFromNone) {
  EXPECT_TRUE(lists_job("1204 vramswap.service start running\n"));
  EXPECT_FALSE(lists_job("No jobs running.\n"));
  EXPECT_FALSE(lists_job(""));
}

}  // namespace
}  // namespace vramswap
