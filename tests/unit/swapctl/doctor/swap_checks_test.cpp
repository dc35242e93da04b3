#include "swapctl/doctor/swap_checks.hpp"

#include "tests/unit/swapctl/doctor/finding_matcher.hpp"

namespace vramswap::swapctl {
namespace {

struct SwapChecks : CheckTest {
  void set_swaps(const std::string& lines) const {
    files.write("proc/swaps", "Filename Type Size Used Priority\n" + lines);
  }
};

TEST_F(SwapChecks, OtherSwapIsSlowerAndBelowOrFasterAndAbove) {
  EXPECT_THAT(check_other_swap(tree, 100), is_unknown("proc/swaps", "/proc"));
  set_swaps("");
  EXPECT_THAT(check_other_swap(tree, 100), is_ok("none"));
  set_swaps("/dev/zram0 partition 8388608 0 200\n/dev/sda2 partition 8388608 0 -2\n");
  EXPECT_THAT(check_other_swap(tree, 100),
              is_ok("/dev/zram0 (200), /dev/sda2 (-2); VRAM has 85 to 100"));
  set_swaps("/dev/zram0 partition 8388608 0 100\n");
  EXPECT_THAT(check_other_swap(tree, 100), warns("/dev/zram0 (100) is not above", "--priority 99"));
  set_swaps("/swapfile file 8388608 0 90\n");  // between the segments
  EXPECT_THAT(check_other_swap(tree, 100), warns("/swapfile (90) is not below", "--priority 106"));
  set_swaps("/swapfile file 8388608 0 84\n");
  EXPECT_THAT(check_other_swap(tree, 100), is_ok());
}

TEST_F(SwapChecks, PrioritiesAreThoseOfTheSwapThatIsUp) {
  set_swaps(
      "/dev/nbd1000 partition 1048576 0 1500\n"
      "/dev/nbd1001 partition 1048576 0 1499\n"
      "/dev/zram0 partition 8388608 0 200\n");
  EXPECT_THAT(check_other_swap(tree, 100), warns("above VRAM (1499 to 1500)", "--priority 199"));
  set_swaps(
      "/dev/nbd1000 partition 1048576 0 1500\n"
      "/dev/nbd1001 partition 1048576 0 1499\n"
      "/swapfile file 8388608 0 1499\n");
  EXPECT_THAT(check_other_swap(tree, 100), warns("below VRAM (1499 to 1500)", "--priority 1515"));
}

TEST_F(SwapChecks, AnNbdDeviceOfOthersIsSlow) {
  set_swaps("/dev/nbd0 partition 1048576 0 200\n");
  EXPECT_THAT(check_other_swap(tree, 100), warns("/dev/nbd0 (200) is not below", "--priority 216"));
}

TEST_F(SwapChecks, TheKernelsChoiceIsBelowAll) {
  set_swaps("/swapfile file 8388608 0 -2\n");
  EXPECT_THAT(check_other_swap(tree, 0), is_ok());
  EXPECT_THAT(check_other_swap(tree, -1), warns("VRAM (the lowest)", "--priority 16"));
  set_swaps("/dev/zram0 partition 8388608 0 -2\n");
  EXPECT_THAT(check_other_swap(tree, -1), is_ok());
}

TEST_F(SwapChecks, Zswap) {
  EXPECT_THAT(check_zswap(tree), is_ok("off"));
  files.write("sys/module/zswap/parameters/enabled", "N\n");
  EXPECT_THAT(check_zswap(tree), is_ok("off"));
  files.write("sys/module/zswap/parameters/enabled", "Y\n");
  EXPECT_THAT(check_zswap(tree), warns("on", "echo N > /sys/module/zswap/parameters/enabled"));
}

TEST_F(SwapChecks, Overcommit) {
  EXPECT_THAT(check_overcommit(tree), is_unknown("", "/proc"));
  files.write("proc/sys/vm/overcommit_memory", "0\n");
  EXPECT_THAT(check_overcommit(tree), is_ok("not limited"));
  files.write("proc/sys/vm/overcommit_memory", "2\n");
  files.write("proc/meminfo", "CommitLimit: 4194304 kB\nCommitted_AS: 1048576 kB\n");
  EXPECT_THAT(check_overcommit(tree), warns("now 1G of 4G", "vm.overcommit_memory=0"));
}

TEST_F(SwapChecks, PageClusterIsTheKernelsUnlessZramWantsAnother) {
  EXPECT_THAT(check_page_cluster(tree), is_unknown("", "/proc"));
  files.write("proc/sys/vm/page-cluster", "3\n");
  EXPECT_THAT(check_page_cluster(tree), is_ok("3"));
  files.write("proc/sys/vm/page-cluster", "0\n");
  set_swaps("");
  EXPECT_THAT(check_page_cluster(tree), warns("0: fewer than 8 pages", "vm.page-cluster=3"));
  set_swaps("/dev/zram0 partition 8388608 0 200\n");
  EXPECT_THAT(check_page_cluster(tree), is_ok("which suits zram"));
}

}  // namespace
}  // namespace vramswap::swapctl
