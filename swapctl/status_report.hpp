// What is up, for people and for programs.
#pragma once

#include <optional>
#include <string>

#include "daemon/control/protocol.hpp"

namespace vramswap::swapctl {

// Raised when a name in status_json() changes its meaning or goes.
inline constexpr int kStatusJsonVersion = 1;

// A line a segment under a heading, columns as swapon --show has them, then the totals. Several
// GPUs are told apart by the first digits of their UUIDs.
std::string status_table(const control::Status& status);
// {"version": 1, "daemon": {...} or null, "segments": [...], "total": {...}}. No value: no daemon.
std::string status_json(const std::optional<control::Status>& status);

}  // namespace vramswap::swapctl
