#include "daemon/worker/io/io_counters.hpp"

#include <gtest/gtest.h>

#include <cerrno>
#include <memory>
#include <thread>
#include <vector>

#include "daemon/base/page_size.hpp"

namespace vramswap {
namespace {

using std::chrono::microseconds;

constexpr IoCounters::Clock::time_point kNow{std::chrono::hours(1)};

IoCounters::Answered answered(std::uint16_t command, std::uint32_t pages, microseconds latency,
                              std::uint32_t error = 0) {
  return {.request = {.flags = 0,
                      .command = command,
                      .cookie = 0,
                      .offset = 0,
                      .length = pages * kPageBytes,
                      .received_at = kNow - latency},
          .error = error};
}

struct IoCountersTest : testing::Test {
  void count(const std::vector<IoCounters::Answered>& batch) {
    counters->count_replies(batch, kNow);
    counters->count_batch(batch.size());
  }
  const std::unique_ptr<IoCounters> counters = std::make_unique<IoCounters>();
};

TEST_F(IoCountersTest, BeginAtZero) {
  EXPECT_EQ(counters->read(), control::IoStats{});
}

TEST_F(IoCountersTest, TellReadsFromWritesAndTrims) {
  count({answered(NBD_CMD_READ, 8, microseconds(100)), answered(NBD_CMD_READ, 1, microseconds(300)),
         answered(NBD_CMD_WRITE, 256, microseconds(2000)),
         answered(NBD_CMD_TRIM, 5, microseconds(1)),
         answered(transmission::kCommandWriteZeroes, 6, microseconds(1)),
         answered(NBD_CMD_FLUSH, 0, microseconds(1))});
  count({answered(NBD_CMD_WRITE, 1, microseconds(10))});
  const auto stats = counters->read();
  EXPECT_EQ(stats.reads.requests, 2U);
  EXPECT_EQ(stats.reads.pages, 9U);
  EXPECT_EQ(stats.reads.latency.count(), 2U);
  EXPECT_EQ(stats.reads.latency.max(), microseconds(300));
  EXPECT_GE(stats.reads.latency.percentile(0.1), microseconds(100));
  EXPECT_LT(stats.reads.latency.percentile(0.1), microseconds(107));
  EXPECT_EQ(stats.writes.requests, 2U);
  EXPECT_EQ(stats.writes.pages, 257U);
  EXPECT_EQ(stats.writes.latency.max(), microseconds(2000));
  EXPECT_EQ(stats.trims, 2U);
  EXPECT_EQ(stats.trimmed_pages, 11U);
  EXPECT_EQ(stats.errors, 0U);
  EXPECT_EQ(stats.batches, 2U);
  EXPECT_EQ(stats.batched_requests, 7U);
  EXPECT_EQ(stats.largest_batch, 6U);
}

TEST_F(IoCountersTest, AnErrorMovesNoPages) {
  count({answered(NBD_CMD_READ, 8, microseconds(1), EIO),
         answered(NBD_CMD_WRITE, 8, microseconds(1), EINVAL),
         answered(99, 0, microseconds(1), 22)});
  const auto stats = counters->read();
  EXPECT_EQ(stats.errors, 3U);
  EXPECT_EQ(stats.reads, control::Transfers{});
  EXPECT_EQ(stats.writes, control::Transfers{});
  EXPECT_EQ(stats.batched_requests, 3U);
}

TEST_F(IoCountersTest, ThreadsAddUp) {
  count({answered(NBD_CMD_READ, 8, microseconds(100)), answered(NBD_CMD_READ, 1, microseconds(1))});
  auto sum = counters->read();
  sum.counted_for = std::chrono::seconds(9);
  IoCounters other;
  other.count_replies(std::vector{answered(NBD_CMD_READ, 2, microseconds(700))}, kNow);
  other.count_batch(1);
  sum.add(other.read());
  EXPECT_EQ(sum.counted_for, std::chrono::seconds(9));
  EXPECT_EQ(sum.reads.requests, 3U);
  EXPECT_EQ(sum.reads.pages, 11U);
  EXPECT_EQ(sum.reads.latency.count(), 3U);
  EXPECT_EQ(sum.reads.latency.max(), microseconds(700));
  EXPECT_EQ(sum.batches, 2U);
  EXPECT_EQ(sum.batched_requests, 3U);
  EXPECT_EQ(sum.largest_batch, 2U);
}

// One writes, another reads: under ThreadSanitizer, a race would be told.
TEST_F(IoCountersTest, AreReadWhileTheyCount) {
  constexpr std::uint64_t kBatches = 2000;
  std::jthread writer([&] {
    for (std::uint64_t i = 0; i < kBatches; ++i)
      count({answered(NBD_CMD_READ, 2, microseconds(i))});
  });
  std::uint64_t before = 0;
  while (before < kBatches) {
    const auto stats = counters->read();
    EXPECT_GE(stats.reads.requests, before);
    before = stats.reads.requests;
  }
  writer.join();
  EXPECT_EQ(counters->read().reads.pages, 2 * kBatches);
  EXPECT_EQ(counters->read().reads.latency.count(), kBatches);
}

}  // namespace
}  // namespace vramswap
