// The statistics of a worker as text and as JSON.
#pragma once

#include <string>

#include "daemon/base/json.hpp"
#include "swapctl/io_rates.hpp"

namespace vramswap::swapctl {

// Indented lines: reads and writes under a heading, then batches, trims and errors.
std::string totals_text(const control::IoStats& stats);
std::string rates_text(const IoRates& rates);

nlohmann::ordered_json totals_json(const control::IoStats& stats);
nlohmann::ordered_json rates_json(const IoRates& rates);

}  // namespace vramswap::swapctl
