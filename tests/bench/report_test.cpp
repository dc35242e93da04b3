// The targets of the engine, and how measurements are judged by them.
#include "tests/bench/report.hpp"

#include <gmock/gmock.h>

#include <algorithm>

namespace vramswap::bench {
namespace {

using testing::HasSubstr;

Cell cell(const std::string& name) {
  auto cells = all_cells();
  const auto found = std::ranges::find(cells, name, &Cell::name);
  return found == cells.end() ? Cell{} : *found;
}

Measurement measurement(double operations_per_second, double p99_us = 10) {
  return {.operations_per_second = operations_per_second,
          .bytes_per_second = operations_per_second * 4096,
          .p50_us = 5,
          .p99_us = p99_us,
          .cpu_us_per_page = 1,
          .load_us_per_request = 1};
}

// A target of a load that does not exist would never be judged.
TEST(Targets, AreOfLoadsThatExist) {
  std::size_t throughputs = 0;
  std::size_t others = 0;
  std::size_t above_one = 0;
  for (const auto& each : all_cells()) {
    for (const Target& target : targets_of(each)) {
      const bool throughput = target.metric == Metric::throughput;
      ++(throughput ? throughputs : others);
      if (throughput && target.ratio > 1) ++above_one;
    }
  }
  EXPECT_EQ(throughputs, all_cells().size());
  EXPECT_EQ(above_one, 10U);
  EXPECT_EQ(others, 8U);
}

TEST(Targets, AreBoundsFromTheRightSide) {
  const Target more{Metric::throughput, 2};
  EXPECT_TRUE(more.is_met(2));
  EXPECT_FALSE(more.is_met(1.9));
  const Target less{Metric::p99, 0.5};
  EXPECT_TRUE(less.is_met(0.5));
  EXPECT_FALSE(less.is_met(0.6));
}

TEST(Report, TheRatioIsTheMedianOfTheRoundsRatios) {
  // 2, 9 and 3; that of the medians would be 4.
  const CellResult result{
      .cell = cell("read-4K-1x32"),
      .engine = {measurement(200), measurement(900), measurement(400)},
      .per_request = {measurement(100), measurement(100), measurement(400. / 3)}};
  EXPECT_NEAR(result.ratio(Metric::throughput), 3, 1e-9);
  EXPECT_EQ(count_missed_targets({result}), 0U);
  EXPECT_THAT(targets_table({result}, TableStyle::plain), HasSubstr("met"));
  EXPECT_THAT(measurements_table({result}, TableStyle::markdown), HasSubstr("| 3.00x |"));
}

TEST(Report, EveryMissedTargetCounts) {
  const CellResult slow{.cell = cell("mix-4x8"),
                        .engine = {measurement(90, 9)},
                        .per_request = {measurement(100, 10)}};
  EXPECT_EQ(count_missed_targets({slow}), 2U);
  EXPECT_EQ(count_missed_targets({slow, slow}), 4U);
  EXPECT_THAT(targets_table({slow}, TableStyle::markdown), HasSubstr("missed"));
}

}  // namespace
}  // namespace vramswap::bench
