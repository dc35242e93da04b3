// IoFigures as JSON, for what carries them: messages of the worker, its image, and the control
// protocol.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "daemon/control/io_figures.hpp"

namespace vramswap::control {

// Found by argument-dependent lookup. A histogram is the list of its buckets that are not empty,
// bucket and count in turn.
void to_json(nlohmann::json& json, const IoFigures& figures);
// Throws nlohmann's errors, and std::out_of_range for a bucket that no histogram has.
void from_json(const nlohmann::json& json, IoFigures& figures);

}  // namespace vramswap::control
