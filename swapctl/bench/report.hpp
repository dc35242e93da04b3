// The results as a table and as JSON.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "swapctl/bench/measure.hpp"
#include "swapctl/bench/target.hpp"

namespace vramswap::swapctl {

// Raise it when a name in bench_json() changes its meaning or is removed.
inline constexpr int kBenchJsonVersion = 1;

// No value: not measured.
struct Measured {
  Target target;
  std::optional<double> sequential_read = {};  // bytes a second
  std::optional<double> sequential_write = {};
  std::optional<double> random_read = {};  // requests of 4 KiB a second
  std::optional<double> random_write = {};
  std::optional<Latency> single_read = {};
  std::string problem = {};  // why the tests of this target ended early; empty: they did not
};

// A heading and a line for each target.
std::string bench_table(const std::vector<Measured>& rows);
// {"version": 1, "seconds": ..., "single_reads": ..., "devices": [...]}. A result that was not
// measured is null.
std::string bench_json(const std::vector<Measured>& rows, const TestPlan& plan);

// Three digits, or more if there are more before the point: "0.0123", "1.93", "1930".
std::string three_digits(double value);

}  // namespace vramswap::swapctl
