// The order of the tests on each target, and what becomes of their failures.
#pragma once

#include <string>
#include <vector>

#include "swapctl/bench/report.hpp"
#include "swapctl/bench/scratch_segments.hpp"

namespace vramswap::swapctl {

struct TestRun {
  const TestPlan& plan;
  const Environment& environment;
  // Told whose tests begin.
  std::function<void(const std::string& name)> on_target;
  Observer observer;
};

// Each returns an error only of code EINTR, from the observer; any other is the row's problem.

// Reads it, and never opens it for more than that.
Result<Measured> test_target(const Target& target, const TestRun& run);
// Writes and reads it.
Result<Measured> test_scratch(const control::SegmentStatus& segment, const TestRun& run);

}  // namespace vramswap::swapctl
