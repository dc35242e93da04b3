#include "daemon/system/cgroup_room.hpp"

#include <gmock/gmock.h>

#include <limits>

#include "tests/support/fake_tree.hpp"
#include "tests/support/mebibyte.hpp"

namespace vramswap {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

// In MiB.
struct Files {
  std::uint64_t swap = 0;
  std::uint64_t current = 0;
  std::string max = "max";
  std::string high = "max";
  std::string swap_max = "max";
  std::string statistics = "";
};

class CgroupRoom : public testing::Test {
 protected:
  // The root has no such files.
  CgroupRoom() { tree_.write("memory.stat", "anon 4096\n"); }

  static std::string bytes(const std::string& mib) {
    return mib == "max" ? mib : std::to_string(std::stoull(mib) * kMiB);
  }
  void group(const std::string& name, const Files& files) const {
    tree_.write(name + "/cgroup.procs", "1\n");
    tree_.write(name + "/memory.swap.current", std::to_string(files.swap * kMiB) + "\n");
    tree_.write(name + "/memory.current", std::to_string(files.current * kMiB) + "\n");
    tree_.write(name + "/memory.max", bytes(files.max) + "\n");
    tree_.write(name + "/memory.high", bytes(files.high) + "\n");
    tree_.write(name + "/memory.swap.max", bytes(files.swap_max) + "\n");
    tree_.write(name + "/memory.stat", files.statistics);
  }
  static std::string statistic(const std::string& key, std::uint64_t mib) {
    return key + " " + std::to_string(mib * kMiB) + "\n";
  }
  std::vector<CgroupExcess> walk(std::uint64_t returning_mib = 1000) const {
    CgroupWalk walk(returning_mib * kMiB, tree_.path());
    while (walk.look_at_next()) {
    }
    return walk.found();
  }
  std::vector<std::uint64_t> excess_mib(std::uint64_t returning_mib = 1000) const {
    std::vector<std::uint64_t> list;
    for (const CgroupExcess& found : walk(returning_mib)) list.push_back(found.excess_bytes / kMiB);
    return list;
  }
  std::vector<std::string> names() const {
    std::vector<std::string> list;
    for (const CgroupExcess& found : walk()) list.push_back(found.name);
    return list;
  }

  const FakeTree tree_;
};

TEST_F(CgroupRoom, PagesInSwapFitUnderTheLimitOrDoNot) {
  group("fits", {.swap = 40, .current = 60, .max = "100"});
  EXPECT_THAT(walk(), IsEmpty());
  group("box", {.swap = 41, .current = 60, .max = "100"});
  const auto found = walk();
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].name, "/box");
  EXPECT_EQ(found[0].limit, "memory.max");
  EXPECT_EQ(found[0].limit_bytes, 100 * kMiB);
  EXPECT_EQ(found[0].excess_bytes, kMiB);
  EXPECT_TRUE(found[0].may_swap);
  EXPECT_FALSE(found[0].parent);
}

TEST_F(CgroupRoom, AGroupGetsNoMoreThanComesBack) {
  group("box", {.swap = 50, .current = 90, .max = "100"});
  EXPECT_THAT(excess_mib(50), ElementsAre(40));
  EXPECT_THAT(excess_mib(11), ElementsAre(1));
  EXPECT_THAT(excess_mib(10), IsEmpty());
}

TEST_F(CgroupRoom, NothingInSwapOrNoLimitIsRoom) {
  group("full", {.swap = 0, .current = 100, .max = "100"});
  group("free", {.swap = 500, .current = 100});
  EXPECT_THAT(walk(), IsEmpty());
}

TEST_F(CgroupRoom, ALimitHoldsForAllGroupsBelow) {
  group("a", {.swap = 60, .current = 20, .max = "50"});
  group("a/b", {.swap = 60, .current = 20});
  group("a/b/one", {.swap = 30, .current = 10, .max = "30"});
  group("a/b/two", {.swap = 30, .current = 10, .max = "40"});
  const auto found = walk();
  ASSERT_THAT(names(), ElementsAre("/a", "/a/b/one"));
  EXPECT_THAT(excess_mib(), ElementsAre(30, 10));
  EXPECT_EQ(found[1].parent, 0U);
}

TEST_F(CgroupRoom, DoesNotLookBelowAGroupWithoutPagesInSwap) {
  group("a", {.swap = 0, .current = 0});
  group("a/b", {.swap = 60, .current = 20, .max = "50"});
  EXPECT_THAT(walk(), IsEmpty());
}

// The least part of it stays: half of the cache, or a 64th of the limit.
TEST_F(CgroupRoom, CacheThatCanBeDroppedIsRoom) {
  const std::string cache =
      statistic("file", 900) + statistic("inactive_file", 10) + statistic("active_file", 20);
  group("box", {.swap = 50, .current = 64, .max = "64", .statistics = cache});
  EXPECT_THAT(excess_mib(), ElementsAre(50 - 29));
  EXPECT_THAT(excess_mib(29), IsEmpty());
  group("box",
        {.swap = 50, .current = 640, .max = "640", .statistics = statistic("active_file", 8)});
  EXPECT_THAT(excess_mib(), ElementsAre(46));
}

// Pages that are in memory, too, are counted twice.
TEST_F(CgroupRoom, PagesInTheSwapCacheNeedNoRoom) {
  group("box",
        {.swap = 50, .current = 60, .max = "100", .statistics = statistic("swapcached", 10)});
  EXPECT_THAT(walk(), IsEmpty());
  group("box", {.swap = 50, .current = 60, .max = "100", .statistics = statistic("swapcached", 9)});
  EXPECT_THAT(excess_mib(), ElementsAre(1));
  // Above its limit already, but nothing more comes.
  group("box", {.swap = 5, .current = 60, .high = "50", .statistics = statistic("swapcached", 5)});
  EXPECT_THAT(walk(), IsEmpty());
}

TEST_F(CgroupRoom, MemoryHighIsALimitToo) {
  group("box", {.swap = 30, .current = 50, .max = "100", .high = "60"});
  const auto found = walk();
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].limit, "memory.high");
  EXPECT_EQ(found[0].limit_bytes, 60 * kMiB);
  EXPECT_EQ(found[0].excess_bytes, 20 * kMiB);
}

TEST_F(CgroupRoom, WhereItExceedsBothMemoryMaxIsNamed) {
  group("box", {.swap = 60, .current = 50, .max = "100", .high = "60"});
  const auto found = walk();
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].limit, "memory.max");
  EXPECT_EQ(found[0].excess_bytes, 10 * kMiB);
}

TEST_F(CgroupRoom, AGroupThatMayNotSwapMoreMayNotBelowEither) {
  group("a", {.swap = 60, .current = 50, .max = "50", .swap_max = "59"});
  group("a/b", {.swap = 60, .current = 50, .max = "50"});
  group("c", {.swap = 60, .current = 50, .max = "50", .swap_max = "60"});
  for (const CgroupExcess& found : walk()) EXPECT_EQ(found.may_swap, found.name == "/c");
  EXPECT_THAT(names(), UnorderedElementsAre("/a", "/a/b", "/c"));
}

// Groups come and go at any moment, and a kernel may lack a file.
TEST_F(CgroupRoom, AGoneGroupIsNotCounted) {
  tree_.write("no-controller/cgroup.procs", "1\n");
  tree_.write("no-current/memory.swap.current", "1000000\n");
  tree_.write("no-current/memory.max", "0\n");
  tree_.write("no-limits/memory.swap.current", "1000000\n");
  tree_.write("no-limits/memory.current", "1000000\n");
  tree_.write("garbage/memory.swap.current", "garbage\n");
  EXPECT_THAT(walk(), IsEmpty());
  tree_.write("no-statistics/memory.swap.current", std::to_string(2 * kMiB));
  tree_.write("no-statistics/memory.current", std::to_string(4 * kMiB));
  tree_.write("no-statistics/memory.max", std::to_string(5 * kMiB));
  EXPECT_THAT(excess_mib(), ElementsAre(1));
}

// As where a container has its own root.
TEST_F(CgroupRoom, ARootWithLimitsIsAGroup) {
  group(".", {.swap = 60, .current = 20, .max = "50"});
  group("a", {.swap = 60, .current = 20, .max = "40"});
  EXPECT_THAT(names(), ElementsAre("/", "/a"));
  EXPECT_THAT(excess_mib(), ElementsAre(30, 40));
}

class ReadCgroupRoom : public CgroupRoom {
 protected:
  std::uint64_t room_mib(const std::string& cgroups) const {
    tree_.write("proc/7/cgroup", cgroups);
    return read_cgroup_room(tree_.path("proc/7"), tree_.path()) / kMiB;
  }
};

constexpr std::uint64_t kNoLimitMib = std::numeric_limits<std::uint64_t>::max() / kMiB;

// The margin is 4 MiB, or a 32nd of the limit.
TEST_F(ReadCgroupRoom, TheLowestLimitUpTheTreeCounts) {
  group("a", {.current = 600, .max = "max", .high = "640"});
  group("a/b", {.current = 20, .max = "50", .high = "max"});
  group("a/c", {.current = 20});
  EXPECT_EQ(room_mib("0::/a\n"), 20U);
  EXPECT_EQ(room_mib("0::/a/b\n"), 20U);
  EXPECT_EQ(room_mib("0::/a/c\n"), 20U);
  group("a/b", {.current = 47, .max = "50"});
  EXPECT_EQ(room_mib("0::/a/b\n"), 0U);
  group("a/b", {.current = 60, .max = "50"});
  EXPECT_EQ(room_mib("0::/a/b\n"), 0U);
}

TEST_F(ReadCgroupRoom, WithoutALimitThereIsRoom) {
  group("a", {.current = 600});
  tree_.write("a/b/cgroup.procs", "7\n");  // no memory controller
  EXPECT_EQ(room_mib("0::/\n"), kNoLimitMib);
  EXPECT_EQ(room_mib("0::/a/b\n"), kNoLimitMib);
  EXPECT_EQ(room_mib("3:memory:/\n1:cpu,cpuacct:/a\n0::/\n"), kNoLimitMib);
  EXPECT_EQ(room_mib(""), kNoLimitMib);
}

TEST_F(ReadCgroupRoom, WhatIsNotKnownIsNoRoom) {
  EXPECT_EQ(room_mib("0::/gone (deleted)\n"), 0U);
  EXPECT_EQ(room_mib("0::/../elsewhere\n"), 0U);
  EXPECT_EQ(room_mib("3:hugetlb,memory:/a\n0::/\n"), 0U);
  EXPECT_EQ(room_mib("garbage\n"), 0U);
  EXPECT_EQ(read_cgroup_room(tree_.path("proc/8"), tree_.path()), 0U);
}

TEST(CgroupRoomOfTheKernel, WithoutCgroupsThereIsNothingToExceed) {
  const FakeTree tree;
  for (const std::string& root : {tree.path("missing"), tree.path()}) {
    CgroupWalk walk(1 << 30, root);
    while (walk.look_at_next()) {
    }
    EXPECT_THAT(walk.found(), IsEmpty());
  }
}

TEST(CgroupRoomOfTheKernel, OfThisMachineIsReadToTheEnd) {
  CgroupWalk walk(0);
  while (walk.look_at_next()) {
  }
  EXPECT_THAT(walk.found(), IsEmpty());
}

}  // namespace
}  // namespace vramswap
