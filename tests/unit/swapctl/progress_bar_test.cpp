#include "swapctl/progress_bar.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "tests/support/mebibyte.hpp"

namespace vramswap::swapctl {
namespace {

using control::Progress;
using std::chrono::seconds;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

TEST(ProgressLine, ShowsShareSizesAndRate) {
  EXPECT_EQ(progress_line({"/dev/nbd0", 512 * kMiB, 1280 * kMiB}, 310 * kMiB),
            "swapoff /dev/nbd0  [########------------]  512M of 1.2G  40%  310M/s");
}

TEST(ProgressLine, EndsAreEmptyAndFull) {
  EXPECT_EQ(progress_line({"/dev/nbd0", 0, kMiB}, 0),
            "swapoff /dev/nbd0  [--------------------]  0B of 1M  0%");
  EXPECT_EQ(progress_line({"/dev/nbd0", kMiB, kMiB}, 0),
            "swapoff /dev/nbd0  [####################]  1M of 1M  100%");
  EXPECT_THAT(progress_line({"/dev/nbd0", 0, 0}, 0), EndsWith("0B of 0B  100%"));
}

TEST(ProgressLine, MoreThanAllIsAll) {
  EXPECT_THAT(progress_line({"/dev/nbd0", 2 * kMiB, kMiB}, 0), EndsWith("1M of 1M  100%"));
}

TEST(ProgressLine, FitsATerminal) {
  const Progress longest{"/dev/nbd15", 1024 * kMiB - 1, 1024 * kMiB - 1};
  EXPECT_LE(progress_line(longest, 1024 * kMiB - 1).size(), 80U);
}

TEST(ProgressLine, TheNameOfACardIsCutOff) {
  EXPECT_EQ(progress_line({"NVIDIA H200", 0, kMiB}, 0, "free"),
            "free NVIDIA H200  [--------------------]  0B of 1M  0%");
  EXPECT_EQ(progress_line({"NVIDIA GeForce RTX 3090 Ti", 0, kMiB}, 0, "free"),
            "free NVIDIA GeForce   [--------------------]  0B of 1M  0%");
}

struct ProgressBarTest : testing::Test {
  std::string shown(const Progress& progress, int second) {
    terminal.str("");
    bar.show(progress, ProgressBar::Clock::time_point(seconds(second)));
    return terminal.str();
  }
  std::ostringstream terminal;
  ProgressBar bar{terminal};
};

TEST_F(ProgressBarTest, TheRateCountsFromTheFirstReportOfADevice) {
  EXPECT_THAT(shown({"/dev/nbd0", 100 * kMiB, 900 * kMiB}, 10), Not(HasSubstr("/s")));
  EXPECT_THAT(shown({"/dev/nbd0", 300 * kMiB, 900 * kMiB}, 12), HasSubstr("33%  100M/s"));
  EXPECT_THAT(shown({"/dev/nbd1", 0, 900 * kMiB}, 13), Not(HasSubstr("/s")));
  EXPECT_THAT(shown({"/dev/nbd1", 50 * kMiB, 900 * kMiB}, 14), HasSubstr("  50M/s"));
}

TEST_F(ProgressBarTest, ClearingLeavesNothing) {
  bar.clear();
  EXPECT_EQ(terminal.str(), "");
  shown({"/dev/nbd0", 0, kMiB}, 0);
  bar.clear();
  EXPECT_THAT(terminal.str(), EndsWith("\r\033[K"));
}

}  // namespace
}  // namespace vramswap::swapctl
