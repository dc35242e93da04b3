// What is up, for people and for programs.
#pragma once

#include <optional>
#include <string>

#include "daemon/control/protocol.hpp"
#include "swapctl/io_rates.hpp"

namespace vramswap::swapctl {

// Raised when a name in status_json() changes its meaning or goes.
inline constexpr int kStatusJsonVersion = 1;

// A line a segment under a heading, columns as swapon --show has them, then the totals. Several
// GPUs are told apart by the first digits of their UUIDs.
std::string status_table(const control::Status& status);
// The same, and what each worker serves: by its rates where there are some, or else in all.
std::string status_text(const control::Status& status, const Rates& rates = {});
// {"version": 1, "daemon": {...} or null, "segments": [...], "workers": [...],
// "total": {...}}. No value: no daemon.
std::string status_json(const std::optional<control::Status>& status);
// The same on one line, and each worker with its "rates", an object or null.
std::string status_json_line(const std::optional<control::Status>& status, const Rates& rates);

}  // namespace vramswap::swapctl
