#include "daemon/supervisor/pool/loan_plan.hpp"

#include <gtest/gtest.h>

#include "daemon/supervisor/pool/loans.hpp"

namespace vramswap {
namespace {

using Kind = LoanStep::Kind;
using Where = LoanSegment::Where;

constexpr std::uint64_t kSize = 100;

LoanCard card(std::initializer_list<LoanSegment> segments, std::optional<std::uint64_t> wanted) {
  return {.segments = segments, .context_bytes = 50, .wanted_bytes = wanted};
}
LoanSegment on_card(std::uint64_t used) {
  return {.where = Where::card, .size_bytes = kSize, .used_bytes = used};
}
LoanSegment off_card(Where where) {
  return {.where = where, .size_bytes = kSize};
}

void expect_step(const LoanCard& card, Kind kind, std::size_t segment) {
  const auto step = next_step(card);
  ASSERT_TRUE(step);
  EXPECT_EQ(step->kind, kind);
  EXPECT_EQ(step->segment, segment);
}

TEST(LoanPlan, NothingIsDoneWhereNothingIsWanted) {
  EXPECT_FALSE(next_step(card({on_card(0), on_card(7)}, 0)));
}

TEST(LoanPlan, EmptySegmentsGoFirstFromTheLowestPriorityUp) {
  expect_step(card({on_card(0), on_card(0), on_card(7)}, 1), Kind::give_up, 1);
  expect_step(card({on_card(9), on_card(7)}, 1), Kind::move_out, 1);
  LoanCard excluded = card({on_card(9), on_card(7)}, 1);
  excluded.segments[1].is_excluded = true;
  expect_step(excluded, Kind::move_out, 0);
}

TEST(LoanPlan, TheContextGoesLast) {
  const auto nowhere = off_card(Where::nowhere);
  expect_step(card({off_card(Where::host), nowhere}, std::nullopt), Kind::leave_card, 0);
  expect_step(card({off_card(Where::host), nowhere}, 201), Kind::leave_card, 0);
  EXPECT_FALSE(next_step(card({off_card(Where::host), nowhere}, 200)));
  LoanCard all = card({nowhere}, std::nullopt);
  all.has_context = false;
  EXPECT_FALSE(next_step(all));
  EXPECT_EQ(lent_bytes(all), 150U);
  EXPECT_EQ(missing_bytes(all), 0U);
}

TEST(LoanPlan, SegmentsComeBackFromTheHighestPriorityDownWhileTheRestIsEnough) {
  expect_step(card({off_card(Where::host), off_card(Where::nowhere)}, 100), Kind::bring_back, 0);
  EXPECT_FALSE(next_step(card({off_card(Where::host), off_card(Where::nowhere)}, 101)));
  expect_step(card({on_card(1), off_card(Where::nowhere)}, 0), Kind::bring_back, 1);
  // With the first one the context comes back, too.
  LoanCard left = card({off_card(Where::host), off_card(Where::host)}, 100);
  left.has_context = false;
  expect_step(left, Kind::bring_back, 0);
  left.wanted_bytes = 101;
  EXPECT_FALSE(next_step(left));
}

TEST(LoanPlan, MoreThanThereIsIsMissing) {
  const LoanCard small = card({on_card(0)}, 1000);
  EXPECT_EQ(missing_bytes(small), 1000U);
  EXPECT_EQ(missing_bytes(card({on_card(0)}, std::nullopt)), 150U);
}

TEST(Loans, AddUpToAllAtMost) {
  constexpr std::uint64_t kHalf = 1ULL << 63;
  Loans loans;
  EXPECT_EQ(loans.wanted_bytes(), 0U);
  const auto first = loans.add({.bytes = kHalf, .is_held = true});
  loans.add({.bytes = kHalf});
  EXPECT_EQ(loans.wanted_bytes(), UINT64_MAX);
  loans.remove(first);
  loans.remove(first);
  EXPECT_EQ(loans.wanted_bytes(), kHalf);
  loans.add({});
  EXPECT_EQ(loans.wanted_bytes(), std::nullopt);
  EXPECT_TRUE(loans.remove_unheld());
  EXPECT_FALSE(loans.remove_unheld());
  EXPECT_EQ(loans.wanted_bytes(), 0U);
}

}  // namespace
}  // namespace vramswap
