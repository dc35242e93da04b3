#include "daemon/supervisor/pool/memory_reserve.hpp"

#include <gtest/gtest.h>

#include "daemon/system/proc.hpp"

namespace vramswap {
namespace {

constexpr std::size_t kMiB = 1 << 20;

std::uint64_t resident_bytes() {
  return read_resident_bytes("/proc/self/status").value();
}

int fill(MemoryReserve& reserve) {
  int steps = 0;
  while (!reserve.is_full()) {
    EXPECT_TRUE(reserve.fill_step());
    ++steps;
  }
  return steps;
}

TEST(MemoryReserve, HoldsMemoryUntilItIsReleased) {
  constexpr std::size_t kSize = 16 * kMiB + 4096;
  MemoryReserve reserve;
  reserve.set_size(kSize);
  EXPECT_FALSE(reserve.is_full());
  const std::uint64_t before = resident_bytes();
  EXPECT_GT(fill(reserve), 1);
  EXPECT_GE(resident_bytes(), before + 15 * kMiB);
  reserve.release();
  EXPECT_FALSE(reserve.is_full());
  EXPECT_LT(resident_bytes(), before + 4 * kMiB);
  fill(reserve);
}

TEST(MemoryReserve, IsReleasedInPartsAndFilledUpAgain) {
  MemoryReserve reserve;
  reserve.set_size(64 * kMiB);
  fill(reserve);
  const std::uint64_t before = resident_bytes();
  reserve.release_step();
  EXPECT_FALSE(reserve.is_full());
  EXPECT_LT(resident_bytes(), before - kMiB);
  EXPECT_GT(resident_bytes(), before - 4 * kMiB);
  EXPECT_EQ(fill(reserve), 2);
}

TEST(MemoryReserve, ReleasingTwiceIsHarmless) {
  MemoryReserve reserve;
  reserve.set_size(kMiB);
  fill(reserve);
  reserve.release();
  reserve.release();
}

TEST(MemoryReserve, OfNothingIsFull) {
  const MemoryReserve reserve;
  EXPECT_TRUE(reserve.is_full());
}

}  // namespace
}  // namespace vramswap
