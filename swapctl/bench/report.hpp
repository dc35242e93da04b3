// What was measured, for people and for programs.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "swapctl/bench/measure.hpp"
#include "swapctl/bench/target.hpp"

namespace vramswap::swapctl {

// Raised when a name in bench_json() changes its meaning or goes.
inline constexpr int kBenchJsonVersion = 1;

// Without a value: not measured.
struct Measured {
  Target target;
  std::optional<double> sequential_read = {};  // bytes a second
  std::optional<double> sequential_write = {};
  std::optional<double> random_read = {};  // requests of 4 KiB a second
  std::optional<double> random_write = {};
  std::optional<Latency> single_read = {};
  std::string problem = {};  // what ended the tests of this target early
};

// A line a target under a heading.
std::string bench_table(const std::vector<Measured>& rows);
// {"version": 1, "seconds": ..., "single_reads": ..., "devices": [...]}, null for what was not
// measured.
std::string bench_json(const std::vector<Measured>& rows, const TestPlan& plan);

// Three digits, or all of those before the point: "0.0123", "1.93", "1930".
std::string three_digits(double value);

}  // namespace vramswap::swapctl
