// IoStats as JSON, for the messages of the worker, for its handover to the next program, and for
// the control protocol.
#pragma once

#include "daemon/base/json.hpp"
#include "daemon/control/io_stats.hpp"

namespace vramswap::control {

// nlohmann finds both by argument-dependent lookup. A histogram is a list of the non-empty buckets:
// number of the bucket and count in turn.
void to_json(nlohmann::json& json, const IoStats& stats);
// Throws nlohmann's errors, and std::out_of_range for a bucket that no histogram has.
void from_json(const nlohmann::json& json, IoStats& stats);

}  // namespace vramswap::control
