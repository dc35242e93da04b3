#include "daemon/supervisor/pool/pool_plan.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "tests/support/mebibyte.hpp"

namespace vramswap {
namespace {

using control::Bytes;
using control::Maximum;
using control::Percent;
using control::UpRequest;
using testing::HasSubstr;

constexpr std::uint64_t kGiB = 1 << 30;

StoreDeviceInfo card(std::uint64_t free_bytes, std::string uuid = "GPU-1", bool display = false) {
  return {.name = "NVIDIA Test",
          .uuid = std::move(uuid),
          .free_bytes = free_bytes,
          .total_bytes = 8 * kGiB,
          .granularity_bytes = 2 * kMiB,
          .drives_display = display};
}

UpRequest request(control::Size size, int priority = 1500) {
  UpRequest up;
  up.size = size;
  up.priority = priority;
  return up;
}

std::uint64_t total(const std::vector<SegmentPlan>& plan) {
  return std::accumulate(plan.begin(), plan.end(), std::uint64_t{0},
                         [](auto sum, const auto& segment) { return sum + segment.size_bytes; });
}

TEST(PoolPlan, SegmentsInDescendingPriority) {
  const auto plan = plan_pool(request(Bytes{7 * kGiB + 512 * kMiB}), {card(8 * kGiB)});
  ASSERT_TRUE(plan) << plan.error().message;
  ASSERT_EQ(plan->size(), 8U);
  for (int rank = 0; rank < 8; ++rank) EXPECT_EQ((*plan)[rank].priority, 1500 - rank);
  EXPECT_EQ(plan->front().size_bytes, kGiB);
  EXPECT_EQ(plan->back().size_bytes, 512 * kMiB);
}

TEST(PoolPlan, PriorityEndsAtZeroAndTheKernelsChoiceStays) {
  const auto low = plan_pool(request(Bytes{4 * kGiB}, 1), {card(8 * kGiB)});
  ASSERT_TRUE(low);
  EXPECT_EQ((*low)[1].priority, 0);
  EXPECT_EQ((*low)[3].priority, 0);
  const auto automatic = plan_pool(request(Bytes{2 * kGiB}, -1), {card(8 * kGiB)});
  ASSERT_TRUE(automatic);
  EXPECT_EQ((*automatic)[1].priority, -1);
}

TEST(PoolPlan, EqualRankOnEachCard) {
  const auto plan = plan_pool(request(Bytes{4 * kGiB}), {card(8 * kGiB), card(8 * kGiB, "GPU-2")});
  ASSERT_TRUE(plan);
  ASSERT_EQ(plan->size(), 4U);
  EXPECT_EQ((*plan)[0].device, 0U);
  EXPECT_EQ((*plan)[1].device, 1U);
  EXPECT_EQ((*plan)[0].priority, (*plan)[1].priority);
  EXPECT_EQ((*plan)[2].priority, 1499);
}

TEST(PoolPlan, LargePoolsGetLargerSegments) {
  auto large = card(128 * kGiB);
  large.total_bytes = 140 * kGiB;
  const auto plan = plan_pool(request(Bytes{100 * kGiB}), {large});
  ASSERT_TRUE(plan);
  EXPECT_LE(plan->size(), kMaxSegments);
  EXPECT_EQ(total(*plan), 100 * kGiB);
}

TEST(PoolPlan, RoundsDownToTheGranularity) {
  const auto plan = plan_pool(request(Bytes{3 * kMiB + 5}), {card(8 * kGiB)});
  ASSERT_TRUE(plan);
  EXPECT_EQ(total(*plan), 2 * kMiB);
}

TEST(PoolPlan, PercentOfFreeMemory) {
  const auto plan = plan_pool(request(Percent{50}), {card(3 * kGiB)});
  ASSERT_TRUE(plan);
  EXPECT_EQ(total(*plan), 3 * kGiB / 2);
}

TEST(PoolPlan, MaxLeavesHeadroom) {
  EXPECT_EQ(total(*plan_pool(request(Maximum{}), {card(7 * kGiB)})), 6 * kGiB);
  EXPECT_EQ(total(*plan_pool(request(Maximum{}), {card(7 * kGiB, "GPU-1", true)})), 4 * kGiB);
}

TEST(PoolPlan, TooLargeSaysHowMuchThereIs) {
  const auto plan = plan_pool(request(Bytes{9 * kGiB}), {card(7 * kGiB)});
  ASSERT_FALSE(plan);
  for (const char* part : {"9G", "7G free", "NVIDIA Test", "GPU-1"}) {
    EXPECT_THAT(plan.error().message, HasSubstr(part));
  }
}

TEST(PoolPlan, TooSmallSaysTheSmallest) {
  for (const auto& size : {control::Size{Bytes{kMiB}}, control::Size{Percent{0.001}}}) {
    const auto plan = plan_pool(request(size), {card(kGiB)});
    ASSERT_FALSE(plan);
    EXPECT_THAT(plan.error().message, HasSubstr("2M"));
  }
  EXPECT_FALSE(plan_pool(request(Maximum{}), {card(kGiB)}));
}

}  // namespace
}  // namespace vramswap
