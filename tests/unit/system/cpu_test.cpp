#include "daemon/system/cpu.hpp"

#include <gtest/gtest.h>
#include <sched.h>

#include <thread>

#include "tests/support/fake_tree.hpp"

namespace vramswap {
namespace {

// Four cores of two hyper-threads each, and a processor that is offline.
class PhysicalCoresTest : public testing::Test {
 protected:
  PhysicalCoresTest() {
    for (int cpu = 0; cpu < 8; ++cpu) {
      const std::string siblings = std::to_string(cpu % 4) + ',' + std::to_string(cpu % 4 + 4);
      tree_.write("cpu" + std::to_string(cpu) + "/topology/thread_siblings_list", siblings + '\n');
    }
    tree_.write("cpu8/online", "0\n");
    tree_.write("cpufreq/topology/thread_siblings_list", "9\n");
  }
  unsigned count(const std::set<unsigned>& cpus) const {
    return count_physical_cores(cpus, tree_.path());
  }

  FakeTree tree_;
};

TEST_F(PhysicalCoresTest, HyperThreadsOfACoreCountOnce) {
  EXPECT_EQ(count({0, 1, 2, 3, 4, 5, 6, 7, 8}), 4U);
  EXPECT_EQ(count({0, 4}), 1U);
}

TEST_F(PhysicalCoresTest, OnlyWhereTheProcessMayRun) {
  EXPECT_EQ(count({5}), 1U);
  EXPECT_EQ(count({0, 1, 4}), 2U);
}

TEST_F(PhysicalCoresTest, AllWhereTheKernelDoesNotSay) {
  EXPECT_EQ(count({}), 4U);
  EXPECT_EQ(count_physical_cores({}, "/nonexistent"), 1U);
  EXPECT_EQ(count({8}), 1U);
}

TEST(AllowedCpusTest, FollowsTheAffinity) {
  const auto all = allowed_cpus();
  ASSERT_FALSE(all.empty());
  std::thread([&] {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(*all.rbegin(), &one);
    ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
    EXPECT_EQ(allowed_cpus(), std::set<unsigned>{*all.rbegin()});
    EXPECT_EQ(count_allowed_cpus(), 1U);
  }).join();
  EXPECT_EQ(count_allowed_cpus(), all.size());
}

}  // namespace
}  // namespace vramswap
