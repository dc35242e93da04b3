// The status as text and as JSON.
#pragma once

#include <optional>
#include <string>

#include "daemon/control/protocol.hpp"
#include "swapctl/io_rates.hpp"

namespace vramswap::swapctl {

// Raise it when a name in status_json() changes its meaning or is removed.
inline constexpr int kStatusJsonVersion = 1;

// A heading, a line for each segment with the columns of swapon --show, and the totals. With
// several GPUs, a line also has the first digits of the GPU's UUID.
std::string status_table(const control::Status& status);
// The same, with the rates of each worker; a worker without rates is shown with its totals.
std::string status_text(const control::Status& status, const Rates& rates = {});
// {"version": 1, "daemon": {...} or null, "segments": [...], "workers": [...],
// "total": {...}}. No value: no daemon.
std::string status_json(const std::optional<control::Status>& status);
// The same on one line. Each worker also has "rates", an object or null.
std::string status_json_line(const std::optional<control::Status>& status, const Rates& rates);

}  // namespace vramswap::swapctl
