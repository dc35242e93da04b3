#include "daemon/base/latency_histogram.hpp"

#include <gtest/gtest.h>

#include <random>

namespace vramswap {
namespace {

using std::chrono::nanoseconds;

TEST(LatencyHistogram, AnEmptyOneIsZero) {
  const LatencyHistogram none;
  EXPECT_EQ(none.count(), 0U);
  EXPECT_EQ(none.percentile(0.5), nanoseconds(0));
  EXPECT_EQ(none.max(), nanoseconds(0));
  EXPECT_EQ(none.count(LatencyHistogram::kBuckets - 1), 0U);
}

TEST(LatencyHistogram, BucketsAscendAndAreUsed) {
  std::size_t last = 0;
  for (std::int64_t value = 0; value < 5000; ++value) {
    const std::size_t bucket = LatencyHistogram::bucket_of(nanoseconds(value));
    ASSERT_GE(bucket, last);
    ASSERT_LE(bucket, last + 1);
    last = bucket;
  }
  EXPECT_EQ(LatencyHistogram::bucket_of(nanoseconds((1LL << 40) - 1)),
            LatencyHistogram::kBuckets - 1);
}

TEST(LatencyHistogram, PercentilesAreAtMostASixteenthTooHigh) {
  for (const std::int64_t value : {1LL, 15LL, 16LL, 17LL, 1000LL, 123456LL, (1LL << 30) + 1}) {
    LatencyHistogram histogram;
    for (int i = 0; i < 99; ++i) histogram.record(nanoseconds(value));
    histogram.record(nanoseconds(1LL << 39));
    for (const double share : {0.0, 0.5, 0.98}) {
      EXPECT_GE(histogram.percentile(share).count(), value);
      EXPECT_LE(histogram.percentile(share).count(), value + value / 16);
    }
    EXPECT_EQ(histogram.percentile(0.99), nanoseconds(1LL << 39));
    EXPECT_EQ(histogram.percentile(1), nanoseconds(1LL << 39));
  }
}

TEST(LatencyHistogram, PercentilesOfASpread) {
  LatencyHistogram histogram;
  for (std::int64_t value = 1; value <= 10000; ++value) histogram.record(nanoseconds(value));
  for (const double share : {0.01, 0.1, 0.5, 0.9, 0.99}) {
    const double exact = share * 10000;
    EXPECT_GE(static_cast<double>(histogram.percentile(share).count()), exact);
    EXPECT_LE(static_cast<double>(histogram.percentile(share).count()), exact * 17 / 16 + 1);
  }
  EXPECT_EQ(histogram.max(), nanoseconds(10000));
}

TEST(LatencyHistogram, WhatIsOutOfRangeIsKept) {
  LatencyHistogram histogram;
  histogram.record(nanoseconds(-5));
  EXPECT_EQ(histogram.max(), nanoseconds(0));
  histogram.record(std::chrono::hours(24));
  histogram.record(nanoseconds::max());
  EXPECT_EQ(histogram.count(), 3U);
  EXPECT_EQ(histogram.percentile(0.5), nanoseconds::max());
  EXPECT_EQ(histogram.max(), nanoseconds::max());
}

TEST(LatencyHistogram, SumAndDifferenceBelongTogether) {
  std::minstd_rand random(1);
  LatencyHistogram earlier;
  LatencyHistogram later;
  for (int i = 0; i < 1000; ++i) earlier.record(nanoseconds(random() % 1000));
  for (int i = 0; i < 1000; ++i) later.record(nanoseconds(500 + random() % 100000));
  LatencyHistogram sum = earlier;
  sum.add(later);
  EXPECT_EQ(sum.count(), 2000U);
  EXPECT_EQ(sum.max(), later.max());

  const LatencyHistogram difference = sum.since(earlier);
  EXPECT_EQ(difference.count(), later.count());
  for (const double share : {0.1, 0.5, 0.99}) {
    EXPECT_EQ(difference.percentile(share), later.percentile(share));
  }
  EXPECT_EQ(sum.since(sum).count(), 0U);
  EXPECT_EQ(sum.since(sum).max(), nanoseconds(0));
  EXPECT_EQ(sum.since({}), sum);

  // The longest latency of all came before; only its bucket tells the longest since then.
  LatencyHistogram again = sum;
  again.record(nanoseconds(1000));
  EXPECT_GE(again.since(sum).max().count(), 1000);
  EXPECT_LE(again.since(sum).max().count(), 1000 + 1000 / 16);
}

}  // namespace
}  // namespace vramswap
