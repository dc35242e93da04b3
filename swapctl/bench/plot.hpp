// What was measured, as a picture.
#pragma once

#include <string>
#include <vector>

#include "swapctl/bench/report.hpp"

namespace vramswap::swapctl {

// An SVG document that needs nothing beside it: a chart of horizontal bars for each test, with a
// group of bars for each target.
std::string bench_plot(const std::vector<Measured>& rows);

}  // namespace vramswap::swapctl
