#include "daemon/supervisor/machine/kernel_last_resort.hpp"

#include <gtest/gtest.h>

#include <thread>

#include "tests/support/fake_tree.hpp"
#include "tests/support/mebibyte.hpp"

namespace vramswap {
namespace {

TEST(KillDecision, KillsOnlyWhereLessThanNeededIsAvailable) {
  KillDecision decision(100 * kMiB);
  EXPECT_FALSE(decision.is_kill_due(100 * kMiB));
  EXPECT_TRUE(decision.is_kill_due(99 * kMiB));
}

TEST(KillDecision, KillsNoSecondProcessWhereTheFirstChangedNothing) {
  KillDecision decision(100 * kMiB);
  EXPECT_FALSE(decision.awaits_change());
  EXPECT_TRUE(decision.is_kill_due(50 * kMiB));
  EXPECT_TRUE(decision.awaits_change());
  EXPECT_FALSE(decision.is_kill_due(50 * kMiB));
  EXPECT_FALSE(decision.is_kill_due(50 * kMiB + 4096));
}

TEST(KillDecision, KillsAgainAfterAKillThatHelpedTooLittle) {
  KillDecision decision(100 * kMiB);
  EXPECT_TRUE(decision.is_kill_due(50 * kMiB));
  EXPECT_TRUE(decision.is_kill_due(60 * kMiB));
  EXPECT_FALSE(decision.is_kill_due(60 * kMiB));
}

TEST(KillDecision, KillsAgainWhereOthersTookWhatTheKillFreed) {
  KillDecision decision(100 * kMiB);
  EXPECT_TRUE(decision.is_kill_due(50 * kMiB));
  decision.observe(90 * kMiB);
  EXPECT_FALSE(decision.awaits_change());
  EXPECT_TRUE(decision.is_kill_due(50 * kMiB));
}

// The test writes the kernel's files. It waits for the expected effect, and only the time limit of
// the test program ends that.
class KernelLastResortTest : public testing::Test {
 protected:
  KernelLastResortTest() {
    set_available(10);
    tree_.write("sysrq-trigger", "");
    paths_.memory_info = tree_.path("meminfo");
    paths_.sysrq_trigger = tree_.path("sysrq-trigger");
  }
  void set_available(int mib) const {
    tree_.write("meminfo", "MemTotal:  8000000 kB\nMemFree:  1 kB\nMemAvailable:   " +
                               std::to_string(mib * 1024) + " kB\nBuffers:   7 kB\n");
  }
  std::size_t kills() const { return tree_.read("sysrq-trigger").size(); }
  void wait_for_kills(std::size_t count) const {
    while (kills() < count) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }

  const FakeTree tree_;
  KernelPaths paths_;
};

TEST_F(KernelLastResortTest, KillsWithoutTheReactor) {
  KernelLastResort last_resort(paths_, std::chrono::milliseconds(1));
  last_resort.begin(100 * kMiB);
  wait_for_kills(1);
  set_available(50);
  wait_for_kills(2);
  EXPECT_EQ(tree_.read("sysrq-trigger"), "ff");
}

TEST_F(KernelLastResortTest, BeginsAgainForTheNextWorker) {
  KernelLastResort last_resort(paths_, std::chrono::milliseconds(1));
  for (std::size_t i = 1; i <= 3; ++i) {
    last_resort.begin(100 * kMiB);
    wait_for_kills(i);
    last_resort.end();
  }
}

TEST_F(KernelLastResortTest, KillsNothingBeforeItsTimeNorAfterItsEnd) {
  {
    KernelLastResort last_resort(paths_, std::chrono::hours(1));
    last_resort.end();
    last_resort.begin(100 * kMiB);
    last_resort.end();
    last_resort.end();
    last_resort.begin(100 * kMiB);
  }
  EXPECT_EQ(kills(), 0U);
}

TEST_F(KernelLastResortTest, AKernelWithoutTheTriggerIsNoReasonToEnd) {
  paths_.sysrq_trigger = tree_.path("missing");
  KernelLastResort last_resort(paths_, std::chrono::milliseconds(1));
  last_resort.begin(100 * kMiB);
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  last_resort.end();
}

}  // namespace
}  // namespace vramswap
