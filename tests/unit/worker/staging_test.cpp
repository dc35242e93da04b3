#include "daemon/worker/io/staging.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <set>

#include "tests/support/mapping_flags.hpp"

namespace vramswap {
namespace {

TEST(Staging, PiecesAreAlignedApartAndInside) {
  const auto staging = Staging::create();
  ASSERT_TRUE(staging) << staging.error().message;
  const auto memory = staging->memory();
  const std::byte* end = memory.data();
  for (unsigned area = 0; area < Staging::kReceiveAreas; ++area) {
    EXPECT_EQ(staging->receive_area(area).data(), end);
    end += staging->receive_area(area).size();
  }
  for (Staging::Chunk chunk = 0; chunk < Staging::kChunkCount; ++chunk) {
    EXPECT_EQ(staging->headers(chunk).data(), end);
    end += staging->headers(chunk).size();
  }
  for (Staging::Chunk chunk = 0; chunk < Staging::kChunkCount; ++chunk) {
    EXPECT_EQ(staging->data(chunk).data(), end);
    // Whole pages are lent.
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(staging->data(chunk).data()) % 4096, 0U);
    end = staging->data(chunk).data() + staging->data(chunk).size();
  }
  EXPECT_EQ(end, memory.data() + memory.size());
}

TEST(Staging, IsLeftOutOfCoreDumps) {
  const auto staging = Staging::create().value();
  EXPECT_THAT(mapping_flags("vramswap-staging"), testing::HasSubstr(" dd "));
}

TEST(Staging, HandsOutEachChunkOnce) {
  auto staging = Staging::create().value();
  std::vector<Staging::Chunk> taken;
  while (staging.free_chunks() > 0) taken.push_back(staging.allocate());
  EXPECT_EQ(std::set(taken.begin(), taken.end()).size(), Staging::kChunkCount);
  for (const auto chunk : taken) staging.release(chunk);
  EXPECT_EQ(staging.free_chunks(), Staging::kChunkCount);
}

TEST(Staging, KeepsItsMemoryWhenMoved) {
  auto first = Staging::create().value();
  std::memset(first.data(3).data(), 0x5a, Staging::kDataBytes);
  const auto* address = first.data(3).data();
  const Staging second = std::move(first);
  EXPECT_EQ(second.data(3).data(), address);
  EXPECT_EQ(second.data(3)[17], std::byte{0x5a});
}

}  // namespace
}  // namespace vramswap
