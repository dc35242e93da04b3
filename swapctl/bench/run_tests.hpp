// Runs the tests on a target.
#pragma once

#include <string>
#include <vector>

#include "swapctl/bench/report.hpp"
#include "swapctl/bench/scratch_segments.hpp"

namespace vramswap::swapctl {

struct TestRun {
  const TestPlan& plan;
  const Environment& environment;
  // Called with the name of the target before its tests begin.
  std::function<void(const std::string& name)> on_target;
  Observer observer;
};

// Both return an error only if the observer ends the test (EINTR). Other errors go to
// Measured::problem.

// Reads the target; opens it for reading only.
Result<Measured> test_target(const Target& target, const TestRun& run);
// Writes and reads the segment.
Result<Measured> test_scratch(const control::SegmentStatus& segment, const TestRun& run);

}  // namespace vramswap::swapctl
