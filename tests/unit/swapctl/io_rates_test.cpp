#include "swapctl/io_rates.hpp"

#include <gtest/gtest.h>

namespace vramswap::swapctl {
namespace {

using control::IoStats;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

// After so many seconds of the same load.
IoStats stats_after(unsigned elapsed) {
  IoStats stats{.counted_for = seconds(100 + elapsed),
                .reads = {.requests = 1000U * elapsed, .pages = 8000U * elapsed},
                .writes = {.requests = 10U * elapsed, .pages = 2560U * elapsed},
                .trims = 3U * elapsed,
                .trimmed_pages = 4U * elapsed,
                .errors = elapsed,
                .batches = 505U * elapsed,
                .batched_requests = 1010U * elapsed,
                .largest_batch = 16};
  for (unsigned i = 0; i < 1000 * elapsed; ++i) stats.reads.latency.record(microseconds(20));
  return stats;
}

control::Status status_of(const std::vector<std::pair<int, std::optional<IoStats>>>& workers) {
  control::Status status;
  for (const auto& [pid, io] : workers) {
    auto& worker = status.workers.emplace_back();
    worker.pid = pid;
    worker.io = io;
  }
  return status;
}

TEST(IoRates, AreTheDifferenceByTheTime) {
  auto later = stats_after(3);
  later.reads.latency.record(milliseconds(5));
  const auto rates = rates_between(stats_after(1), later);
  ASSERT_TRUE(rates);
  EXPECT_EQ(rates->interval, seconds(2));
  EXPECT_DOUBLE_EQ(rates->reads.requests_per_second, 1000);
  EXPECT_DOUBLE_EQ(rates->reads.pages_per_second, 8000);
  EXPECT_DOUBLE_EQ(rates->writes.requests_per_second, 10);
  EXPECT_DOUBLE_EQ(rates->writes.pages_per_second, 2560);
  EXPECT_DOUBLE_EQ(rates->trims_per_second, 3);
  EXPECT_DOUBLE_EQ(rates->requests_per_batch, 2);
  EXPECT_EQ(rates->errors, 2U);
  EXPECT_EQ(rates->reads.latency.count(), 2001U);
  EXPECT_GE(rates->reads.latency.max(), milliseconds(5));
  EXPECT_EQ(rates->writes.latency.count(), 0U);
}

TEST(IoRates, AreZeroWhereNothingHappens) {
  auto later = stats_after(1);
  later.counted_for += milliseconds(500);
  const auto rates = rates_between(stats_after(1), later);
  ASSERT_TRUE(rates);
  EXPECT_DOUBLE_EQ(rates->reads.requests_per_second, 0);
  EXPECT_DOUBLE_EQ(rates->requests_per_batch, 0);
  EXPECT_EQ(rates->reads.latency.count(), 0U);
}

TEST(IoRates, NeedALaterLookAtTheSameWorker) {
  EXPECT_FALSE(rates_between(stats_after(1), stats_after(1)));
  EXPECT_FALSE(rates_between(stats_after(2), stats_after(1)));
  auto another = stats_after(1);
  another.counted_for = seconds(1000);
  EXPECT_FALSE(rates_between(stats_after(2), another));
}

TEST(RateMeter, TellsWorkersApart) {
  RateMeter meter;
  const auto none = meter.look(status_of({{7, stats_after(1)}, {8, stats_after(5)}}));
  ASSERT_EQ(none.size(), 2U);
  EXPECT_FALSE(none[0]);
  EXPECT_FALSE(none[1]);
  // In another order, and one that has taken the place of the dead 8.
  const auto rates = meter.look(status_of({{9, stats_after(0)}, {7, stats_after(2)}}));
  ASSERT_EQ(rates.size(), 2U);
  EXPECT_FALSE(rates[0]);
  ASSERT_TRUE(rates[1]);
  EXPECT_DOUBLE_EQ(rates[1]->reads.requests_per_second, 1000);
  // The earlier sample of 8 has gone with it.
  EXPECT_FALSE(meter.look(status_of({{8, stats_after(9)}}))[0]);
}

TEST(RateMeter, AWorkerThatWasSilentForALookIsComparedWithTheOneBefore) {
  RateMeter meter;
  meter.look(status_of({{7, stats_after(1)}}));
  EXPECT_FALSE(meter.look(status_of({{7, std::nullopt}}))[0]);
  const auto rates = meter.look(status_of({{7, stats_after(4)}}));
  ASSERT_TRUE(rates[0]);
  EXPECT_EQ(rates[0]->interval, seconds(3));
  EXPECT_DOUBLE_EQ(rates[0]->reads.requests_per_second, 1000);
}

TEST(RateMeter, WithoutWorkersThereIsNothing) {
  RateMeter meter;
  EXPECT_TRUE(meter.look(control::Status{}).empty());
}

}  // namespace
}  // namespace vramswap::swapctl
