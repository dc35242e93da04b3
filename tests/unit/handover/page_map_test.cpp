#include "daemon/handover/page_map.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

#include "tests/support/mapping_flags.hpp"

namespace vramswap {
namespace {

TEST(PageMap, StartsEmpty) {
  const auto fd = PageMap::create(1000);
  ASSERT_TRUE(fd) << fd.error().message;
  const auto map = PageMap::map(fd->get(), 1000);
  ASSERT_TRUE(map) << map.error().message;
  EXPECT_EQ(map->page_count(), 1000U);
  EXPECT_EQ(map->count(PageState::empty), 1000U);
}

TEST(PageMap, EachMappingNamesTheStoreThatHasThePages) {
  const auto fd = PageMap::create(16);
  auto map = PageMap::map(fd->get(), 16);
  const auto other = PageMap::map(fd->get(), 16);
  EXPECT_EQ(other->store(), StoreId{});
  const StoreId moved{.serial = 0xfedcba98, .place = StorePlace::host};
  map->set_store(moved);
  EXPECT_EQ(other->store(), moved);
  EXPECT_EQ(map->corrupt_count(), 0U);
  EXPECT_EQ(map->count(PageState::empty), 16U);
}

TEST(PageMap, RunsEndWhereTheStateChangesOrTheLimitIs) {
  const auto fd = PageMap::create(16);
  auto map = PageMap::map(fd->get(), 16);
  map->set(4, 8, PageState::valid);
  map->set(7, 1, PageState::lost);
  EXPECT_EQ(map->run_length(0, 16), 4U);
  EXPECT_EQ(map->run_length(4, 12), 3U);
  EXPECT_EQ(map->run_length(4, 2), 2U);
  EXPECT_EQ(map->run_length(7, 9), 1U);
  EXPECT_EQ(map->run_length(12, 4), 4U);
  EXPECT_TRUE(map->any(0, 8, PageState::lost));
  EXPECT_FALSE(map->any(0, 7, PageState::lost));
  EXPECT_FALSE(map->any(8, 8, PageState::lost));
  EXPECT_EQ(map->count(PageState::valid), 7U);
}

TEST(PageMap, LosesValidPages) {
  const auto fd = PageMap::create(16);
  auto map = PageMap::map(fd->get(), 16);
  map->set(4, 8, PageState::valid);
  map->set(11, 2, PageState::lost);
  EXPECT_EQ(map->lose_valid(), 7U);
  EXPECT_EQ(map->count(PageState::lost), 9U);
  EXPECT_EQ(map->count(PageState::empty), 7U);
  EXPECT_EQ(map->lose_valid(), 0U);
}

TEST(PageMap, AChangingPageIsLostWithItsStore) {
  const auto fd = PageMap::create(16);
  auto map = PageMap::map(fd->get(), 16);
  map->set(4, 2, PageState::changing);
  EXPECT_EQ(map->lose_valid(), 2U);
  EXPECT_EQ(map->count(4, 2, PageState::lost), 2U);
}

TEST(PageMap, APageIsValidWithItsOwnChecksumOnly) {
  const auto fd = PageMap::create(16);
  auto map = PageMap::map(fd->get(), 16);
  EXPECT_FALSE(map->is_valid_with(3, 0));
  map->set_valid(3, 0xc0ffee);
  map->set_valid(15, 7);
  EXPECT_TRUE(map->is_valid_with(3, 0xc0ffee));
  EXPECT_TRUE(map->is_valid_with(15, 7));
  EXPECT_FALSE(map->is_valid_with(3, 7));
  map->set(3, 1, PageState::changing);
  EXPECT_FALSE(map->is_valid_with(3, 0xc0ffee));
  EXPECT_EQ(map->count(PageState::valid), 1U);
  EXPECT_EQ(map->count(PageState::empty), 14U);
}

TEST(PageMap, CountsCorruptPagesForAllThatMapIt) {
  const auto fd = PageMap::create(16);
  auto map = PageMap::map(fd->get(), 16);
  EXPECT_EQ(map->corrupt_count(), 0U);
  EXPECT_EQ(map->lose_corrupt(0), 1U);
  EXPECT_EQ(map->lose_corrupt(0), 2U);
  EXPECT_EQ(map->at(0), PageState::lost);
  EXPECT_EQ(map->at(1), PageState::empty);
  EXPECT_EQ(PageMap::map(fd->get(), 16)->corrupt_count(), 2U);
}

// As the versions made it that had no checksums.
TEST(PageMap, RefusesOneWithoutChecksums) {
  const auto fd = create_host_memory("vramswap-page-map", 4096, HostMemory::swappable);
  EXPECT_EQ(PageMap::map(fd->get(), 4096).error().code, EINVAL);
}

TEST(PageMap, IsSharedByItsMappingsAndOutlivesThem) {
  const auto fd = PageMap::create(16);
  const auto reader = PageMap::map(fd->get(), 16);
  {
    auto writer = PageMap::map(fd->get(), 16);
    writer->set(3, 2, PageState::valid);
  }
  EXPECT_EQ(reader->at(4), PageState::valid);
  EXPECT_EQ(PageMap::map(fd->get(), 16)->at(3), PageState::valid);
}

TEST(PageMap, MovesAsOne) {
  const auto fd = PageMap::create(16);
  PageMap first = PageMap::map(fd->get(), 16).value();
  first.set(0, 1, PageState::lost);
  PageMap second = std::move(first);
  PageMap third = PageMap::map(PageMap::create(4)->get(), 4).value();
  third = std::move(second);
  EXPECT_EQ(third.page_count(), 16U);
  EXPECT_EQ(third.at(0), PageState::lost);
}

TEST(PageMap, RefusesAnotherSizeAndOtherDescriptors) {
  const auto fd = PageMap::create(16);
  EXPECT_EQ(PageMap::map(fd->get(), 15).error().code, EINVAL);
  EXPECT_EQ(PageMap::map(fd->get(), 17).error().code, EINVAL);
  EXPECT_EQ(PageMap::map(-1, 16).error().code, EBADF);
}

TEST(PageMap, IsLeftOutOfCoreDumps) {
  const auto map = PageMap::map(PageMap::create(16)->get(), 16).value();
  EXPECT_THAT(mapping_flags("vramswap-page-map"), testing::HasSubstr(" dd "));
}

TEST(PageMap, CannotBeResized) {
  const auto fd = PageMap::create(4096);
  EXPECT_NE(ftruncate(fd->get(), 1), 0);
  EXPECT_NE(ftruncate(fd->get(), 8192), 0);
  EXPECT_EQ(PageMap::map(fd->get(), 4096)->count(PageState::empty), 4096U);
}

}  // namespace
}  // namespace vramswap
