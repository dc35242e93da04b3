// IoStats as JSON, for what carries them: messages of the worker, its image, and the control
// protocol.
#pragma once

#include "daemon/base/json.hpp"
#include "daemon/control/io_stats.hpp"

namespace vramswap::control {

// Found by argument-dependent lookup. A histogram is the list of its buckets that are not empty,
// bucket and count in turn.
void to_json(nlohmann::json& json, const IoStats& stats);
// Throws nlohmann's errors, and std::out_of_range for a bucket that no histogram has.
void from_json(const nlohmann::json& json, IoStats& stats);

}  // namespace vramswap::control
