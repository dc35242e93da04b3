// What a worker says it has served is what the load asked of it.
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <thread>

#include "tests/load/worker_fixture.hpp"

namespace vramswap::load {
namespace {

using control::IoFigures;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::uint64_t kPageBytes = sizeof(Page);

// A reply is here before the worker has counted it.
IoFigures figures_when(ServedSegment& served,
                       const std::function<bool(const IoFigures&)>& is_reached) {
  for (int i = 0; i < 200; ++i) {
    auto figures = served.worker().figures();
    EXPECT_TRUE(figures) << figures.error().message;
    if (!figures || is_reached(*figures)) return figures.value_or(IoFigures{});
    std::this_thread::sleep_for(milliseconds(10));
  }
  ADD_FAILURE() << "the figures do not come to what was asked";
  return served.worker().figures().value_or(IoFigures{});
}

IoFigures figures_after(ServedSegment& served, std::uint64_t requests) {
  return figures_when(
      served, [=](const IoFigures& figures) { return figures.batched_requests == requests; });
}

constexpr std::chrono::milliseconds kPreempted{100};

void expect_matches(const IoFigures& figures, const LoadResult& load) {
  EXPECT_EQ(figures.reads.requests + figures.writes.requests + figures.trims, load.operations);
  EXPECT_EQ(figures.reads.pages * kPageBytes, load.read_bytes);
  EXPECT_EQ(figures.writes.pages * kPageBytes, load.written_bytes);
  EXPECT_EQ(figures.batched_requests, load.operations);
  EXPECT_EQ(figures.reads.latency.count(), figures.reads.requests);
  EXPECT_EQ(figures.writes.latency.count(), figures.writes.requests);
  EXPECT_EQ(figures.errors, 0U);
  EXPECT_GT(figures.batches, 0U);
  EXPECT_LE(figures.batches, figures.batched_requests);
  EXPECT_GE(figures.largest_batch, 1U);
  // The load measures the way there and back as well; but a thread may lose its processor between
  // sending and looking at the clock.
  EXPECT_LE(figures.reads.latency.max(), load.read_latency.max() + kPreempted);
  EXPECT_LE(figures.writes.latency.max(), load.write_latency.max() + kPreempted);
}

TEST(Figures, AreWhatTheLoadAskedFor) {
  ServedSegment served({});
  EXPECT_EQ(figures_after(served, 0).reads.requests, 0U);
  LoadResult load = served.run(seconds(1));
  expect_uninterrupted(load);
  const auto mixed = figures_after(served, load.operations);
  expect_matches(mixed, load);
  EXPECT_GT(mixed.reads.requests, 0U);
  EXPECT_GT(mixed.writes.requests, 0U);
  EXPECT_GT(mixed.trims, 0U);
  EXPECT_GE(mixed.trimmed_pages, mixed.trims);
  EXPECT_GT(mixed.counted_for, seconds(1));

  const LoadResult reads = served.verify();
  const auto both = figures_after(served, load.operations + reads.operations);
  EXPECT_EQ(both.reads.requests - mixed.reads.requests, reads.operations);
  EXPECT_EQ(both.reads.pages - mixed.reads.pages, kSegmentBytes / kPageBytes);
  EXPECT_EQ(both.writes, mixed.writes);
  EXPECT_EQ(both.trims, mixed.trims);
}

TEST(Figures, CountWhatWasAnsweredWithAnError) {
  ServedSegment served({});
  const int socket = served.sockets()[0].get();
  ASSERT_TRUE(send_header(
      socket, {.command = Command::read, .offset = kSegmentBytes, .length = sizeof(Page)}));
  ASSERT_NE(receive_reply(socket).value().error, 0U);
  const auto figures = figures_after(served, 1);
  EXPECT_EQ(figures.errors, 1U);
  EXPECT_EQ(figures.reads.requests, 0U);
}

// A request whose payload comes late has been under way for as long.
TEST(Figures, ALatencyBeginsWithTheHeader) {
  ServedSegment served({});
  const int socket = served.sockets()[0].get();
  ASSERT_TRUE(send_header(socket, {.command = Command::write, .length = sizeof(Page)}));
  std::this_thread::sleep_for(milliseconds(50));
  ASSERT_TRUE(send_page(socket, Page{}, false));
  ASSERT_EQ(receive_reply(socket).value().error, 0U);
  const auto figures = figures_after(served, 1);
  EXPECT_EQ(figures.writes.requests, 1U);
  EXPECT_GE(figures.writes.latency.max(), milliseconds(49));
}

TEST(Figures, AreReportedUnderLoad) {
  ServedSegment served({});
  LoadResult load;
  std::jthread loading([&] { load = served.run(seconds(1)); });
  std::uint64_t before = 0;
  for (int i = 0; i < 20; ++i) {
    const auto figures = served.worker().figures();
    ASSERT_TRUE(figures) << figures.error().message;
    EXPECT_GE(figures->batched_requests, before);
    before = figures->batched_requests;
    std::this_thread::sleep_for(milliseconds(20));
  }
  loading.join();
  expect_matches(figures_after(served, load.operations), load);
}

// The same process, another program: it counts on.
TEST(Figures, OutliveADozeAndAReplacement) {
  ServedSegment served({.doze_after = seconds(1)});
  const LoadResult load = served.run(milliseconds(200));
  const auto before = figures_after(served, load.operations);
  ASSERT_TRUE(served.worker().replace(test_worker()));
  const auto replaced = figures_after(served, load.operations);
  EXPECT_EQ(replaced.reads, before.reads);
  EXPECT_EQ(replaced.writes, before.writes);
  EXPECT_EQ(replaced.largest_batch, before.largest_batch);
  EXPECT_GT(replaced.counted_for, before.counted_for);

  ASSERT_TRUE(served.worker().wait_for_state(WorkerState::dozing, seconds(20)));
  // Asking does not wake it.
  const auto dozing = served.worker().figures();
  ASSERT_TRUE(dozing) << dozing.error().message;
  EXPECT_EQ(dozing->reads, before.reads);
  EXPECT_EQ(served.worker().adopt().value().state, WorkerState::dozing);
  const LoadResult more = served.verify();
  expect_uninterrupted(more);
  EXPECT_EQ(figures_after(served, load.operations + more.operations).reads.requests,
            before.reads.requests + more.operations);
}

}  // namespace
}  // namespace vramswap::load
