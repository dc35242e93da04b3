#include "daemon/system/swap_area_type.hpp"

#include <gtest/gtest.h>

#include "tests/support/mebibyte.hpp"

namespace vramswap {
namespace {

SwapArea area(std::uint64_t size_mib, std::uint64_t used_mib) {
  return {.path = "/dev/x",
          .type = "partition",
          .size_bytes = size_mib * kMiB,
          .used_bytes = used_mib * kMiB};
}

// 1 MiB each.
SeenTypes seen(std::initializer_list<unsigned> types) {
  SeenTypes all;
  for (const unsigned type : types) all[type] = {.last_offset = 1000, .count = 256};
  return all;
}

using Type = std::optional<unsigned>;

TEST(SwapAreaType, TheOnlyAreaInUseHasTheOnlyType) {
  EXPECT_EQ(find_area_type({area(64, 32)}, 0, seen({0})), Type(0));
  EXPECT_EQ(find_area_type({area(64, 32)}, 0, seen({5})), Type(5));  // others have gone
  EXPECT_EQ(find_area_type({area(64, 0), area(64, 32), area(64, 0)}, 1, seen({4})), Type(4));
  EXPECT_EQ(find_area_type({area(64, 32)}, 0, {}), Type());
}

TEST(SwapAreaType, WhereAllAreSeenTheOrderTells) {
  const std::vector<SwapArea> areas{area(64, 32), area(64, 32), area(64, 32)};
  EXPECT_EQ(find_area_type(areas, 0, seen({0, 2, 3})), Type(0));
  EXPECT_EQ(find_area_type(areas, 1, seen({0, 2, 3})), Type(2));
  EXPECT_EQ(find_area_type(areas, 2, seen({0, 2, 3})), Type(3));
}

TEST(SwapAreaType, WhatMayBeAnotherAreasIsNotGuessed) {
  const std::vector<SwapArea> areas{area(64, 32), area(64, 32)};
  EXPECT_EQ(find_area_type(areas, 0, seen({1})), Type());
  EXPECT_EQ(find_area_type(areas, 1, seen({1})), Type());
  EXPECT_EQ(find_area_type(areas, 0, seen({3})), Type());
}

// Those before it have numbers, too.
TEST(SwapAreaType, TypeZeroIsTheFirstAreas) {
  const std::vector<SwapArea> areas{area(64, 32), area(64, 32)};
  EXPECT_EQ(find_area_type(areas, 0, seen({0})), Type(0));
  EXPECT_EQ(find_area_type(areas, 1, seen({0})), Type());
  EXPECT_EQ(find_area_type({area(64, 32), area(64, 32), area(64, 32)}, 1, seen({0, 1})), Type(1));
}

TEST(SwapAreaType, AnAreaHasNoPagesBeyondItsEnd) {
  const SeenTypes high{{2, {.last_offset = 8193, .count = 256}}};
  EXPECT_EQ(find_area_type({area(32, 16), area(64, 32)}, 1, high), Type(2));
  EXPECT_EQ(find_area_type({area(64, 32), area(32, 16)}, 1, high), Type());
}

// The kernel counts slots as used that it has set aside for each CPU.
TEST(SwapAreaType, AnAreaHasNoMorePagesThanAreUsed) {
  const SeenTypes many{{1, {.last_offset = 9000, .count = 8000}}};
  EXPECT_EQ(find_area_type({area(64, 1), area(64, 40)}, 1, many), Type(1));
  EXPECT_EQ(find_area_type({area(64, 1), area(64, 40)}, 0, many), Type());
  // Swapoff has moved most of its own meanwhile.
  EXPECT_EQ(find_area_type({area(64, 1), area(64, 4)}, 1, many), Type(1));
}

// An area that came meanwhile.
TEST(SwapAreaType, MoreTypesThanAreasMeanNothing) {
  EXPECT_EQ(find_area_type({area(64, 32), area(64, 32)}, 1, seen({0, 1, 2})), Type());
}

}  // namespace
}  // namespace vramswap
