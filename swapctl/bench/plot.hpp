// The results as a picture.
#pragma once

#include <string>
#include <vector>

#include "swapctl/bench/report.hpp"

namespace vramswap::swapctl {

// A self-contained SVG document: a chart of horizontal bars for each test, with a group of bars for
// each target.
std::string bench_plot(const std::vector<Measured>& rows);

}  // namespace vramswap::swapctl
