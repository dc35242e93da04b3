#include "swapctl/prometheus.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/control/segment_states.hpp"
#include "tests/unit/swapctl/command_fixture.hpp"

namespace vramswap::swapctl {
namespace {

using std::chrono::microseconds;
using std::chrono::nanoseconds;
using testing::HasSubstr;
using testing::Not;

control::Status busy() {
  auto status = CommandTest::one_segment();
  status.segments[0].lost_pages = 3;
  status.segments[0].corrupt_pages = 1;
  auto off = status.segments[0];
  off.device = "/dev/nbd1";
  off.used_bytes = 0;
  off.lost_pages = off.corrupt_pages = 0;
  off.state = control::kOffState;
  status.segments[0].place = "host memory";
  off.place = "vram";
  status.lent_bytes = 1ULL << 30;
  status.segments.push_back(off);
  control::IoStats io{.trims = 5, .trimmed_pages = 6, .errors = 2};
  io.reads = {.requests = 3, .pages = 10};
  for (const auto latency : {microseconds(10), microseconds(10), microseconds(5000)}) {
    io.reads.latency.record(latency);
  }
  io.writes = {.requests = 1, .pages = 8};
  io.writes.latency.record(std::chrono::minutes(1));
  status.workers = {{.store = "NVIDIA H200",
                     .gpu_uuid = "GPU-11111111-2222",
                     .pid = 77,
                     .state = "serving",
                     .restarts = 2,
                     .last_pause_ms = 310,
                     .problem = "",
                     .reserve_bytes = 560ULL << 20,
                     .io = io},
                    {.store = "ram", .gpu_uuid = "", .state = "dead", .problem = "no memory"}};
  return status;
}

TEST(Prometheus, HasNamesUnitsAndCumulativeBuckets) {
  std::ostringstream expected;
  expected << std::ifstream(VRAMSWAP_METRICS).rdbuf();
  EXPECT_EQ(status_prometheus(busy()), expected.str());
}

TEST(Prometheus, WithoutADaemonItIsDown) {
  EXPECT_EQ(status_prometheus(std::nullopt),
            "# HELP vramswap_up Whether the daemon answers.\n"
            "# TYPE vramswap_up gauge\n"
            "vramswap_up 0\n");
}

TEST(Prometheus, BucketsEndWhereTheHistogramsDo) {
  auto status = busy();
  auto& latency = status.workers[0].io->reads.latency;
  latency = {};
  latency.record(nanoseconds(4095));
  latency.record(nanoseconds(4096));
  const auto text = status_prometheus(status);
  EXPECT_THAT(text, HasSubstr("direction=\"read\",le=\"4.095e-06\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("direction=\"read\",le=\"8.191e-06\"} 2\n"));
}

TEST(Prometheus, LabelsAreEscapedAndEmptyOnesLeftOut) {
  auto status = busy();
  status.workers[0].store = "a \"b\" \\c\nd";
  const auto text = status_prometheus(status);
  EXPECT_THAT(text, HasSubstr("{store=\"a \\\"b\\\" \\\\c\\nd\",gpu_uuid="));
  EXPECT_THAT(text, HasSubstr("vramswap_worker_running{store=\"ram\"} 0\n"));
}

// Two samples with the same labels would make Prometheus refuse all of it.
TEST(Prometheus, SegmentsWithoutADeviceAreLeftOut) {
  auto status = busy();
  for (auto& segment : status.segments) segment.device = "";
  EXPECT_THAT(status_prometheus(status), Not(HasSubstr("vramswap_size_bytes{")));
}

TEST(Prometheus, AStateThatIsNotKnownIsAdded) {
  auto status = busy();
  status.segments[0].state = "hovering";
  EXPECT_THAT(status_prometheus(status),
              HasSubstr("vramswap_segment_state{device=\"/dev/nbd0\",state=\"hovering\"} 1\n"));
}

}  // namespace
}  // namespace vramswap::swapctl
