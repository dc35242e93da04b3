// Which pages become suspects, when they are tried, and which one is found guilty.
#include "daemon/handover/copy_notes.hpp"

#include <gmock/gmock.h>

#include <cerrno>

#include "daemon/base/page_size.hpp"

namespace vramswap {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

using Page = CopyNotes::Page;

class CopyNotesTest : public testing::Test {
 protected:
  static constexpr unsigned kThreads = 2;
  // Where the stores of segments 3 and 4 are.
  static constexpr std::uint64_t kThird = 0x10000000;
  static constexpr std::uint64_t kFourth = 0x20000000;

  CopyNotesTest() : fd_(CopyNotes::create(kThreads, HostMemory::swappable).value()) {}

  // A worker begins where the one before it ended.
  CopyNotes worker() const {
    auto notes = CopyNotes::map(fd_.get(), kThreads).value();
    notes.take_over();
    notes.set_store(3, kThird, 1 << 20);
    notes.set_store(4, kFourth, 1 << 20);
    return notes;
  }
  static CopyNotes::Range range(std::uint64_t store, std::uint64_t first, std::uint64_t pages) {
    return {store + first * kPageBytes, pages * kPageBytes};
  }
  // A worker dies of a copy of these pages.
  void die_of(std::vector<CopyNotes::Range> ranges, unsigned thread = 0) const {
    auto notes = worker();
    notes.begin(thread, 1, ranges);
    notes.note_failure();
  }

  const UniqueFd fd_;
};

TEST_F(CopyNotesTest, APageIsTriedAfterTheThirdDeath) {
  for (int death = 0; death < 3; ++death) {
    EXPECT_THAT(worker().due_for_trial(3), IsEmpty());
    die_of({range(kThird, 7, 2)});
  }
  EXPECT_THAT(worker().due_for_trial(3), ElementsAre(Page{3, 7}, Page{3, 8}));
  EXPECT_THAT(worker().due_for_trial(4), IsEmpty());
  EXPECT_THAT(worker().convicted(3), IsEmpty());
}

TEST_F(CopyNotesTest, OnlyPagesUnderWayEachTimeAreTried) {
  die_of({range(kThird, 7, 2), range(kFourth, 0, 1)});
  die_of({range(kThird, 8, 1), range(kThird, 20, 5)}, 1);
  die_of({range(kThird, 8, 3)});
  EXPECT_THAT(worker().due_for_trial(3), ElementsAre(Page{3, 8}));
  EXPECT_THAT(worker().due_for_trial(4), IsEmpty());
}

TEST_F(CopyNotesTest, ABatchThatHasEndedIsNoReason) {
  for (int death = 0; death < 3; ++death) {
    auto notes = worker();
    const CopyNotes::Range ranges[] = {range(kThird, 1, 1)};
    notes.begin(0, 0, ranges);
    notes.end(0, 0);
    notes.note_failure();
  }
  EXPECT_THAT(worker().due_for_trial(3), IsEmpty());
}

// The worker was killed, or crashed for another reason, while it copied.
TEST_F(CopyNotesTest, ADeathOfAnotherKindIsNotCounted) {
  for (int death = 0; death < 2; ++death) die_of({range(kThird, 7, 1)});
  for (int death = 0; death < 3; ++death) {
    auto notes = worker();
    const CopyNotes::Range ranges[] = {range(kThird, 7, 1)};
    notes.begin(0, 0, ranges);
  }
  EXPECT_THAT(worker().due_for_trial(3), IsEmpty());
  die_of({range(kThird, 7, 1)});
  EXPECT_THAT(worker().due_for_trial(3), ElementsAre(Page{3, 7}));
}

TEST_F(CopyNotesTest, APageWhoseTrialEndsThreeWorkersIsConvicted) {
  for (int death = 0; death < 3; ++death) die_of({range(kThird, 7, 3)});
  {
    auto notes = worker();
    notes.begin_trial({3, 7});
    notes.end_trial({3, 7});
  }
  for (int trial = 0; trial < 3; ++trial) {
    EXPECT_THAT(worker().convicted(3), IsEmpty());
    worker().begin_trial({3, 8});
  }
  EXPECT_THAT(worker().convicted(3), ElementsAre(Page{3, 8}));
  EXPECT_THAT(worker().due_for_trial(3), ElementsAre(Page{3, 9}));
  worker().forget({3, 8});
  EXPECT_THAT(worker().convicted(3), IsEmpty());
}

// Those stay that have been seen before.
TEST_F(CopyNotesTest, MoreSuspectsThanThereIsRoomFor) {
  for (std::uint64_t death = 0; death < 3; ++death) {
    auto notes = worker();
    notes.set_store(5, 0x40000000, 1 << 30);
    std::vector<CopyNotes::Range> ranges;
    for (std::uint64_t i = 0; death > 0 && i < CopyNotes::kMaxRanges - 1; ++i) {
      ranges.push_back(range(0x40000000, (death * 512 + i) * 64, 64));
    }
    ranges.push_back(range(0x40000000, 200000, 1));
    notes.begin(0, 0, ranges);
    notes.note_failure();
  }
  EXPECT_THAT(worker().due_for_trial(5), ElementsAre(Page{5, 200000}));
}

TEST_F(CopyNotesTest, TheSizeFollowsTheThreads) {
  const auto other = CopyNotes::map(fd_.get(), kThreads + 1);
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().code, EINVAL);
}

}  // namespace
}  // namespace vramswap
