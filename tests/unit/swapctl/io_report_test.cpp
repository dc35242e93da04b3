#include "swapctl/io_report.hpp"

#include <gtest/gtest.h>

namespace vramswap::swapctl {
namespace {

using control::IoStats;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;

IoStats some_stats() {
  IoStats stats{.counted_for = std::chrono::seconds(90),
                .reads = {.requests = 1204, .pages = 9632},
                .writes = {.requests = 31, .pages = 79360},
                .trims = 1,
                .trimmed_pages = 8,
                .errors = 0,
                .batches = 824,
                .batched_requests = 1236,
                .largest_batch = 16};
  // Where one value is all, it is the maximum and shown as it is.
  stats.reads.latency.record(nanoseconds(9400));
  stats.writes.latency.record(microseconds(210));
  stats.writes.latency.record(microseconds(4100));
  stats.writes.latency.record(std::chrono::seconds(12));
  return stats;
}

TEST(IoReport, TotalsAreAlignedUnderTheirHeading) {
  EXPECT_EQ(totals_text(some_stats()),
            "          REQUESTS  PAGES   SIZE     P50     P99     MAX\n"
            "  reads       1204   9632  37.6M  9.4 us  9.4 us  9.4 us\n"
            "  writes        31  79360   310M  4.2 ms    12 s    12 s\n"
            "  1.5 requests a batch, at most 16; 1 trim, 0 errors\n");
}

TEST(IoReport, WithoutIoThereAreNoLatencies) {
  EXPECT_EQ(totals_text({}),
            "          REQUESTS  PAGES  SIZE  P50  P99  MAX\n"
            "  reads          0      0    0B    -    -    -\n"
            "  writes         0      0    0B    -    -    -\n"
            "  0.0 requests a batch, at most 0; 0 trims, 0 errors\n");
}

IoRates some_rates() {
  IoRates rates{.interval = milliseconds(1001),
                .reads = {.requests_per_second = 12034.4, .pages_per_second = 96275},
                .writes = {},
                .trims_per_second = 2.6,
                .requests_per_batch = 1.34,
                .errors = 1};
  rates.reads.latency.record(microseconds(1000));
  return rates;
}

TEST(IoReport, RatesAreASecond) {
  EXPECT_EQ(rates_text(some_rates()),
            "          REQUESTS/S  PAGES/S   MB/S     P50     P99     MAX\n"
            "  reads        12034    96275  394.3  1.0 ms  1.0 ms  1.0 ms\n"
            "  writes           0        0    0.0       -       -       -\n"
            "  1.3 requests a batch; 3 trims/s, 1 error\n");
}

TEST(IoReport, JsonHasCountersAndNanoseconds) {
  EXPECT_EQ(totals_json(some_stats()).dump(),
            R"({"counted_for_us":90000000,)"
            R"("reads":{"requests":1204,"pages":9632,"p50_ns":9400,"p99_ns":9400,"max_ns":9400},)"
            R"("writes":{"requests":31,"pages":79360,"p50_ns":4194303,"p99_ns":12000000000,)"
            R"("max_ns":12000000000},"trims":1,"trimmed_pages":8,"errors":0,"batches":824,)"
            R"("batched_requests":1236,"largest_batch":16})");
  EXPECT_EQ(rates_json(some_rates()).dump(),
            R"({"interval_us":1001000,)"
            R"("reads":{"requests_per_second":12034.4,"pages_per_second":96275.0,)"
            R"("p50_ns":1000000,"p99_ns":1000000,"max_ns":1000000},)"
            R"("writes":{"requests_per_second":0.0,"pages_per_second":0.0,)"
            R"("p50_ns":0,"p99_ns":0,"max_ns":0},)"
            R"("trims_per_second":2.6,"requests_per_batch":1.34,"errors":1})");
}

}  // namespace
}  // namespace vramswap::swapctl
