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

TEST(SwapOffFit, FitsIntoMemory) {
  const std::vector areas{area("/dev/nbd0", 512, 100)};
  EXPECT_TRUE(check_swap_off_fits(memory(116), areas, {"/dev/nbd0"}));
  EXPECT_FALSE(check_swap_off_fits(memory(115), areas, {"/dev/nbd0"}));
}

TEST(SwapOffFit, OtherSwapIsRoomButOursIsNot) {
  const std::vector areas{area("/dev/nbd0", 512, 60), area("/dev/nbd1", 512, 60),
                          area("/dev/sda2", 200, 80)};
  EXPECT_TRUE(check_swap_off_fits(memory(16), areas, {"/dev/nbd0", "/dev/nbd1"}));
  EXPECT_FALSE(check_swap_off_fits(memory(15), areas, {"/dev/nbd0", "/dev/nbd1"}));
}

TEST(SwapOffFit, NothingInUseFitsAlways) {
  EXPECT_TRUE(check_swap_off_fits(memory(0), {area("/dev/nbd0", 512, 0)}, {"/dev/nbd0"}));
}

TEST(SwapOffFit, AFewPagesNeedNoLargeMargin) {
  EXPECT_TRUE(check_swap_off_fits(memory(2), {area("/dev/nbd0", 512, 1)}, {"/dev/nbd0"}));
  EXPECT_FALSE(check_swap_off_fits(memory(1), {area("/dev/nbd0", 512, 1)}, {"/dev/nbd0"}));
}

TEST(SwapOffFit, TheErrorHasTheFigures) {
  const auto result = check_swap_off_fits(
      memory(50), {area("/dev/nbd0", 512, 100), area("/dev/sda2", 30, 10)}, {"/dev/nbd0"});
  ASSERT_FALSE(result);
  for (const char* part : {"100M in use", "50M of memory", "20M of other swap", "--force"}) {
    EXPECT_THAT(result.error().message, HasSubstr(part));
  }
}

}  // namespace
}  // namespace vramswap
