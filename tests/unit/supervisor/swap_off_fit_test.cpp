#include "daemon/supervisor/pool/swap_off_fit.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/mebibyte.hpp"

namespace vramswap {
namespace {

using testing::HasSubstr;

SwapArea area(std::string path, std::uint64_t size_mib, std::uint64_t used_mib) {
  return {.path = std::move(path),
          .type = "partition",
          .size_bytes = size_mib * kMiB,
          .used_bytes = used_mib * kMiB,
          .priority = 0};
}

// Of 1 GiB of memory, 16 MiB must stay free.
MemoryInfo memory(std::uint64_t available_mib) {
  return {1024 * kMiB, available_mib * kMiB};
}

Result<void> check(const MemoryInfo& memory, const std::vector<SwapArea>& areas,
                   const std::vector<std::string>& ours) {
  return check_machine_has_room(memory, SwapUse::of(areas, ours));
}

TEST(SwapOffFit, FitsIntoMemory) {
  const std::vector areas{area("/dev/nbd0", 512, 100)};
  EXPECT_TRUE(check(memory(116), areas, {"/dev/nbd0"}));
  EXPECT_FALSE(check(memory(115), areas, {"/dev/nbd0"}));
}

TEST(SwapOffFit, OtherSwapIsRoomButOursIsNot) {
  const std::vector areas{area("/dev/nbd0", 512, 60), area("/dev/nbd1", 512, 60),
                          area("/dev/sda2", 200, 80)};
  EXPECT_TRUE(check(memory(16), areas, {"/dev/nbd0", "/dev/nbd1"}));
  EXPECT_FALSE(check(memory(15), areas, {"/dev/nbd0", "/dev/nbd1"}));
}

TEST(SwapOffFit, NothingInUseFitsAlways) {
  EXPECT_TRUE(check(memory(0), {area("/dev/nbd0", 512, 0)}, {"/dev/nbd0"}));
}

TEST(SwapOffFit, AFewPagesNeedNoLargeMargin) {
  EXPECT_TRUE(check(memory(2), {area("/dev/nbd0", 512, 1)}, {"/dev/nbd0"}));
  EXPECT_FALSE(check(memory(1), {area("/dev/nbd0", 512, 1)}, {"/dev/nbd0"}));
}

TEST(SwapOffFit, TheErrorHasTheFigures) {
  const auto result =
      check(memory(50), {area("/dev/nbd0", 512, 100), area("/dev/sda2", 30, 10)}, {"/dev/nbd0"});
  ASSERT_FALSE(result);
  for (const char* part : {"100M in use", "50M of memory", "20M of other swap", "--force"}) {
    EXPECT_THAT(result.error().message, HasSubstr(part));
  }
}

TEST(SwapOffFit, AllocatedMemoryMustBeAllowedWithoutTheSwap) {
  const SwapUse use{.size_bytes = 100 * kMiB};
  EXPECT_TRUE(check_commitment_holds(std::nullopt, use));
  EXPECT_TRUE(check_commitment_holds(MemoryCommitment{200 * kMiB, 300 * kMiB}, use));
  const auto result = check_commitment_holds(MemoryCommitment{201 * kMiB, 300 * kMiB}, use);
  ASSERT_FALSE(result);
  for (const char* part : {"overcommit_memory is 2", "201M of the 300M", "100M of swap"}) {
    EXPECT_THAT(result.error().message, HasSubstr(part));
  }
}

CgroupExcess excess(std::string name, std::uint64_t mib,
                    std::optional<std::size_t> parent = std::nullopt) {
  return {.name = std::move(name),
          .limit = "memory.max",
          .limit_bytes = 20 * kMiB,
          .excess_bytes = mib * kMiB,
          .parent = parent};
}

SwapUse use(std::uint64_t used_mib, std::uint64_t other_free_mib) {
  return {.size_bytes = 1024 * kMiB,
          .used_bytes = used_mib * kMiB,
          .other_free_bytes = other_free_mib * kMiB};
}

TEST(SwapOffFit, AGroupThatIsTooSmallIsNamed) {
  EXPECT_TRUE(check_groups_have_room({}, use(100, 0)));
  EXPECT_EQ(check_groups_have_room({excess("/box", 42)}, use(100, 0)).error().message,
            "the pages in use do not fit into their control groups: 42M more would come back into "
            "/box than its memory.max of 20M has room for, and the kernel would kill programs in "
            "it; raise its memory.max, end programs in it, or try anyway with --force");
}

TEST(SwapOffFit, AboveMemoryHighNoProgramIsKilled) {
  CgroupExcess group = excess("/box", 42);
  group.limit = "memory.high";
  const auto result = check_groups_have_room({group}, use(100, 0));
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message,
              HasSubstr("all but stop programs in it; raise its memory.high"));
}

TEST(SwapOffFit, OfSeveralGroupsTheWorstIsNamedAndTheOthersAreCounted) {
  const std::vector<CgroupExcess> two{excess("/a", 5), excess("/b", 7)};
  const auto message = check_groups_have_room(two, use(100, 0)).error().message;
  EXPECT_THAT(message, HasSubstr("7M more would come back into /b"));
  EXPECT_THAT(message, HasSubstr("(and in 1 more group)"));
  const std::vector<CgroupExcess> three{excess("/a", 9), excess("/b", 7), excess("/c", 8)};
  EXPECT_THAT(check_groups_have_room(three, use(100, 0)).error().message,
              HasSubstr("(and in 2 more groups)"));
}

TEST(SwapOffFit, AllGroupsShareOtherSwap) {
  const std::vector<CgroupExcess> groups{excess("/a", 30), excess("/b", 20)};
  EXPECT_TRUE(check_groups_have_room(groups, use(100, 50)));
  EXPECT_FALSE(check_groups_have_room(groups, use(100, 49)));
  // Whichever of them has the pages: there are no more than these.
  EXPECT_TRUE(check_groups_have_room(groups, use(35, 35)));
}

TEST(SwapOffFit, PagesThatGroupsBelowSwapOutMakeRoomAbove) {
  const std::vector<CgroupExcess> groups{excess("/a", 40), excess("/a/b", 30, 0),
                                         excess("/a/c", 20, 0), excess("/d", 5)};
  EXPECT_TRUE(check_groups_have_room(groups, use(100, 55)));
  EXPECT_FALSE(check_groups_have_room(groups, use(100, 54)));
  const std::vector<CgroupExcess> less_below{excess("/a", 40), excess("/a/b", 30, 0)};
  EXPECT_TRUE(check_groups_have_room(less_below, use(100, 40)));
  EXPECT_FALSE(check_groups_have_room(less_below, use(100, 39)));
}

TEST(SwapOffFit, OtherSwapIsNoRoomForAGroupThatMaySwapNoMore) {
  std::vector<CgroupExcess> groups{excess("/a", 30), excess("/b", 20)};
  groups[1].may_swap = false;
  const auto result = check_groups_have_room(groups, use(100, 500));
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, HasSubstr("20M more would come back into /b than"));
  EXPECT_THAT(result.error().message, testing::Not(HasSubstr("more group")));
}

}  // namespace
}  // namespace vramswap
