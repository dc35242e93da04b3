#include "daemon/system/swapped_pages.hpp"

#include <gmock/gmock.h>

#include "daemon/base/page_size.hpp"
#include "tests/support/fake_processes.hpp"

namespace vramswap {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr auto swapped = FakeProcesses::swapped;
constexpr std::uint64_t kManyLooks = 1 << 20;

// Pages 16 to 4095, that is.
constexpr const char* kOneMapping = "10000-1000000 rw-p 00000000 00:00 0 [heap]\n";

AddressRange pages(std::uint64_t first, std::uint64_t end) {
  return {first * kPageBytes, end * kPageBytes};
}

class SwappedPages : public testing::Test {
 protected:
  void add(const std::map<std::uint64_t, std::uint64_t>& entries,
           const std::string& maps = kOneMapping) const {
    processes_.add(7, maps, entries, 1000);
  }
  SwappedPageWalk walk(std::uint64_t max_looks = kManyLooks) const {
    return {processes_.tree.path("7"), max_looks};
  }
  std::vector<std::uint64_t> walked_pages(std::uint64_t max_looks = kManyLooks) const {
    std::vector<std::uint64_t> list;
    SwappedPageWalk all = walk(max_looks);
    while (const auto page = all.next()) list.push_back(page->address / kPageBytes);
    return list;
  }

  const FakeProcesses processes_;
};

TEST_F(SwappedPages, TheProcessWithMostInSwapComesFirst) {
  processes_.add(1, "", {}, 0);
  processes_.add(2, "", {}, 500);
  processes_.add(3, "", {}, 9000);
  processes_.add(4, "", {}, 499);
  processes_.tree.write("5/status", "Name:\tkthreadd\n");
  processes_.tree.write("self/status", "Name:\thog\nVmSwap:\t 9999 kB\n");
  processes_.tree.write("6/stat", "");
  const auto list = list_swapped_processes(500 << 10, processes_.tree.path());
  ASSERT_EQ(list.size(), 2U);
  EXPECT_EQ(list[0].pid, 3);
  EXPECT_EQ(list[0].swap_bytes, 9000U << 10);
  EXPECT_EQ(list[1].pid, 2);
  EXPECT_THAT(list_swapped_processes(0, processes_.tree.path("missing")), IsEmpty());
}

// As Linux 6.1 writes them.
TEST_F(SwappedPages, AMappingWithAFileIsNotAnonymous) {
  EXPECT_THAT(
      parse_anonymous_mappings(
          "55b6c8a00000-55b6c8a02000 r--p 00000000 fe:00 1311150                    /usr/bin/cat\n"
          "55b6c9e00000-55b6c9e21000 rw-p 00000000 00:00 0                          [heap]\n"
          "7f3c00000000-7f3c00021000 rw-p 00000000 00:00 0 \n"
          "7f3c10000000-7f3c10001000 rw-s 00000000 00:01 2061                       /dev/zero "
          "(deleted)\n"
          "7f3c20000000-7f3c20001000 rw-s 00000000 00:00 0 \n"
          "7f3c30000000-7f3c30001000 rw-p 00000000 00:00 0"),
      ElementsAre(AddressRange{0x55b6c9e00000, 0x55b6c9e21000},
                  AddressRange{0x7f3c00000000, 0x7f3c00021000},
                  AddressRange{0x7f3c30000000, 0x7f3c30001000}));
  EXPECT_THAT(parse_anonymous_mappings(""), IsEmpty());
  EXPECT_THAT(parse_anonymous_mappings("garbage\n\n12-zz rw-p 0 00:00 0\n12\n"), IsEmpty());
}

TEST_F(SwappedPages, APageHasAreaAndOffset) {
  add({{16, swapped(3, 0x123456789)}, {20, FakeProcesses::kPresent}, {4000, swapped(22, 1)}});
  SwappedPageWalk all = walk();
  const auto first = all.next();
  ASSERT_TRUE(first);
  EXPECT_EQ(first->address, 16 * kPageBytes);
  EXPECT_EQ(first->type, 3U);
  EXPECT_EQ(first->offset, 0x123456789U);
  EXPECT_EQ(first->mapping, pages(16, 4096));
  const auto second = all.next();
  ASSERT_TRUE(second);
  EXPECT_EQ(second->address, 4000 * kPageBytes);
  EXPECT_EQ(second->type, 22U);
  EXPECT_FALSE(all.next());
  EXPECT_FALSE(all.next());
}

TEST_F(SwappedPages, APageThatIsBeingMovedIsNotInSwap) {
  add({{16, swapped(30, 5)}, {17, swapped(23, 5)}, {18, swapped(0, 5)}});
  EXPECT_THAT(walked_pages(), ElementsAre(18));
}

TEST_F(SwappedPages, OnlyAnonymousMappingsAreWalked) {
  const auto entry = swapped(0, 1);
  add({{1, entry}, {2, entry}, {3, entry}, {4, entry}, {5, entry}},
      "1000-2000 rw-p 00000000 00:00 0\n"
      "2000-3000 rw-s 00000000 00:01 9 /dev/zero (deleted)\n"
      "4000-5000 rw-p 00000000 00:00 0\n");
  EXPECT_THAT(walked_pages(), ElementsAre(1, 4));
}

// A program may reserve terabytes, and have a few pages of them in swap.
TEST_F(SwappedPages, AHugeMappingWithLittleInSwapIsLeftOut) {
  const auto entry = swapped(0, 1);
  add({{1, entry}, {5000, entry}, {9001, entry}},
      "1000-2000 rw-p 00000000 00:00 0\n"
      "10000-1ff0000000 rw-p 00000000 00:00 0\n"
      "2328000-232a000 rw-p 00000000 00:00 0\n");
  EXPECT_THAT(walked_pages(3), ElementsAre(1, 9001));
  EXPECT_THAT(walked_pages(2), ElementsAre(1));
  EXPECT_THAT(walked_pages(0), IsEmpty());
}

TEST_F(SwappedPages, AProcessThatIsGoneHasNone) {
  SwappedPageWalk gone(processes_.tree.path("99"), kManyLooks);
  EXPECT_FALSE(gone.next());
  add({});  // as of a process that has just ended: there is nothing to read
  EXPECT_THAT(walked_pages(), IsEmpty());
}

TEST_F(SwappedPages, ASliceSpansWhatIsInMemoryAndNoOtherArea) {
  add({{20, swapped(1, 9)},
       {21, FakeProcesses::kPresent},
       {22, swapped(1, 5)},
       {23, swapped(0, 5)},
       {24, swapped(1, 7)}});
  SwappedPageWalk all = walk();
  const auto slice = next_slice(all, 1, 100, 8);
  EXPECT_THAT(slice.ranges, ElementsAre(pages(20, 23), pages(24, 25)));
  EXPECT_EQ(slice.pages, 3U);
  EXPECT_EQ(next_slice(all, 1, 100, 8).pages, 0U);
}

TEST_F(SwappedPages, SliceAndRangeHaveTheirLimits) {
  std::map<std::uint64_t, std::uint64_t> entries;
  for (std::uint64_t page = 16; page < 36; ++page) entries[page] = swapped(0, page);
  add(entries);
  SwappedPageWalk all = walk();
  EXPECT_THAT(next_slice(all, 0, 12, 8).ranges, ElementsAre(pages(16, 24), pages(24, 28)));
  EXPECT_THAT(next_slice(all, 0, 12, 8).ranges, ElementsAre(pages(28, 36)));
}

// The kernel ends the call where nothing is mapped.
TEST_F(SwappedPages, ARangeIsOfOneMapping) {
  add({{1, swapped(0, 1)}, {2, swapped(0, 2)}},
      "1000-2000 rw-p 00000000 00:00 0\n2000-3000 r--p 00000000 00:00 0\n");
  SwappedPageWalk all = walk();
  EXPECT_THAT(next_slice(all, 0, 12, 8).ranges, ElementsAre(pages(1, 2), pages(2, 3)));
}

TEST(SwappedPagesOfTheKernel, AreWalked) {
  SwappedPageWalk all("/proc/self", kManyLooks);
  while (const auto page = all.next()) EXPECT_LT(page->type, 32U);
}

}  // namespace
}  // namespace vramswap
