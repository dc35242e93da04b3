// The statistics of a worker match the requests of the load.
#include <gtest/gtest.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>

#include <chrono>
#include <functional>
#include <thread>

#include "daemon/base/page_size.hpp"
#include "tests/load/worker_fixture.hpp"

namespace vramswap::load {
namespace {

using control::IoStats;
using std::chrono::milliseconds;
using std::chrono::seconds;

// A reply is here before the worker has counted it.
IoStats stats_when(ServedSegment& served, const std::function<bool(const IoStats&)>& is_reached) {
  for (int i = 0; i < 200; ++i) {
    auto stats = served.worker().stats();
    EXPECT_TRUE(stats) << stats.error().message;
    if (!stats || is_reached(*stats)) return stats.value_or(IoStats{});
    std::this_thread::sleep_for(milliseconds(10));
  }
  ADD_FAILURE() << "the stats do not come to what was asked";
  return served.worker().stats().value_or(IoStats{});
}

IoStats stats_after(ServedSegment& served, std::uint64_t requests) {
  return stats_when(served,
                    [=](const IoStats& stats) { return stats.batched_requests == requests; });
}

constexpr std::chrono::milliseconds kPreempted{100};

void expect_matches(const IoStats& stats, const LoadResult& load) {
  EXPECT_EQ(stats.reads.requests + stats.writes.requests + stats.trims, load.operations);
  EXPECT_EQ(stats.reads.pages * kPageBytes, load.read_bytes);
  EXPECT_EQ(stats.writes.pages * kPageBytes, load.written_bytes);
  EXPECT_EQ(stats.batched_requests, load.operations);
  EXPECT_EQ(stats.reads.latency.count(), stats.reads.requests);
  EXPECT_EQ(stats.writes.latency.count(), stats.writes.requests);
  EXPECT_EQ(stats.errors, 0U);
  EXPECT_GT(stats.batches, 0U);
  EXPECT_LE(stats.batches, stats.batched_requests);
  EXPECT_GE(stats.largest_batch, 1U);
  // The load measures the way there and back as well; but a thread may lose its processor between
  // sending and looking at the clock.
  EXPECT_LE(stats.reads.latency.max(), load.read_latency.max() + kPreempted);
  EXPECT_LE(stats.writes.latency.max(), load.write_latency.max() + kPreempted);
}

TEST(Stats, MatchTheLoad) {
  ServedSegment served({});
  EXPECT_EQ(stats_after(served, 0).reads.requests, 0U);
  LoadResult load = served.run(seconds(1));
  expect_uninterrupted(load);
  const auto mixed = stats_after(served, load.operations);
  expect_matches(mixed, load);
  EXPECT_GT(mixed.reads.requests, 0U);
  EXPECT_GT(mixed.writes.requests, 0U);
  EXPECT_GT(mixed.trims, 0U);
  EXPECT_GE(mixed.trimmed_pages, mixed.trims);
  EXPECT_GT(mixed.counted_for, seconds(1));

  const LoadResult reads = served.verify();
  const auto both = stats_after(served, load.operations + reads.operations);
  EXPECT_EQ(both.reads.requests - mixed.reads.requests, reads.operations);
  EXPECT_EQ(both.reads.pages - mixed.reads.pages, kSegmentBytes / kPageBytes);
  EXPECT_EQ(both.writes, mixed.writes);
  EXPECT_EQ(both.trims, mixed.trims);
}

TEST(Stats, CountRequestsAnsweredWithAnError) {
  ServedSegment served({});
  const int socket = served.sockets()[0].get();
  ASSERT_TRUE(send_header(
      socket, {.command = Command::read, .offset = kSegmentBytes, .length = sizeof(Page)}));
  ASSERT_NE(receive_reply(socket).value().error, 0U);
  const auto stats = stats_after(served, 1);
  EXPECT_EQ(stats.errors, 1U);
  EXPECT_EQ(stats.reads.requests, 0U);
}

// A request whose payload comes late has been under way for as long.
TEST(Stats, ALatencyBeginsWithTheHeader) {
  ServedSegment served({});
  const int socket = served.sockets()[0].get();
  ASSERT_TRUE(send_header(socket, {.command = Command::write, .length = sizeof(Page)}));
  // A worker on a busy machine comes late for the header. The time that counts begins when it has
  // that.
  for (int unread = 1; unread != 0; std::this_thread::yield()) {
    ASSERT_EQ(ioctl(socket, SIOCOUTQ, &unread), 0);
  }
  std::this_thread::sleep_for(milliseconds(100));
  ASSERT_TRUE(send_page(socket, Page{}, false));
  ASSERT_EQ(receive_reply(socket).value().error, 0U);
  const auto stats = stats_after(served, 1);
  EXPECT_EQ(stats.writes.requests, 1U);
  EXPECT_GE(stats.writes.latency.max(), milliseconds(49));
}

TEST(Stats, AreReportedUnderLoad) {
  ServedSegment served({});
  LoadResult load;
  std::jthread loading([&] { load = served.run(seconds(1)); });
  std::uint64_t before = 0;
  for (int i = 0; i < 20; ++i) {
    const auto stats = served.worker().stats();
    ASSERT_TRUE(stats) << stats.error().message;
    EXPECT_GE(stats->batched_requests, before);
    before = stats->batched_requests;
    std::this_thread::sleep_for(milliseconds(20));
  }
  loading.join();
  expect_matches(stats_after(served, load.operations), load);
}

// The same process, another program: it counts on.
TEST(Stats, OutliveADozeAndAReplacement) {
  ServedSegment served({.doze_after = seconds(1)});
  const LoadResult load = served.run(milliseconds(200));
  const auto before = stats_after(served, load.operations);
  ASSERT_TRUE(served.worker().replace(test_worker()));
  const auto replaced = stats_after(served, load.operations);
  EXPECT_EQ(replaced.reads, before.reads);
  EXPECT_EQ(replaced.writes, before.writes);
  EXPECT_EQ(replaced.largest_batch, before.largest_batch);
  EXPECT_GT(replaced.counted_for, before.counted_for);

  ASSERT_TRUE(served.worker().wait_for_state(WorkerState::dozing, seconds(20)));
  // Asking does not wake it.
  const auto dozing = served.worker().stats();
  ASSERT_TRUE(dozing) << dozing.error().message;
  EXPECT_EQ(dozing->reads, before.reads);
  EXPECT_EQ(served.worker().adopt().value().state, WorkerState::dozing);
  const LoadResult more = served.verify();
  expect_uninterrupted(more);
  EXPECT_EQ(stats_after(served, load.operations + more.operations).reads.requests,
            before.reads.requests + more.operations);
}

}  // namespace
}  // namespace vramswap::load
