#include "daemon/worker/io/page_checksum.hpp"

#include <gtest/gtest.h>

#include <array>

// As a processor without vectors takes it.
#define XXH_VECTOR XXH_SCALAR
#define XXH_INLINE_ALL
#include <xxhash.h>

namespace vramswap {
namespace {

TEST(PageChecksum, IsTheSameOnEveryProcessor) {
  std::array<std::byte, kPageBytes> page{};
  for (unsigned round = 0; round < 100; ++round) {
    unsigned seed = round;
    for (std::byte& byte : page)
      byte = static_cast<std::byte>((seed = seed * 1664525 + 1013904223) >> 24);
    EXPECT_EQ(page_checksum(page),
              static_cast<std::uint32_t>(XXH3_64bits(page.data(), page.size())));
  }
}

TEST(PageChecksum, EveryBitCounts) {
  std::array<std::byte, kPageBytes> page{};
  const std::uint32_t before = page_checksum(page);
  for (std::size_t bit = 0; bit < kPageBytes * 8; bit += 41) {
    page[bit / 8] ^= std::byte{1} << (bit % 8);
    EXPECT_NE(page_checksum(page), before);
    page[bit / 8] ^= std::byte{1} << (bit % 8);
  }
}

}  // namespace
}  // namespace vramswap
