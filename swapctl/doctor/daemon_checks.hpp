// What the daemon says, if it runs, and the settings that `up` would read.
#pragma once

#include <optional>

#include "daemon/control/protocol.hpp"
#include "swapctl/doctor/finding.hpp"
#include "swapctl/environment.hpp"

namespace vramswap::swapctl {

// What the daemon answers. No value: none runs. Unlike `status` it does not start one where the
// last one died with its swap up.
using Answer = Result<std::optional<control::Status>>;
Answer ask_daemon(const Environment& environment);

// A finding for each trouble that the status tells of; one if there is none. `has_orphans`: a
// daemon has died with its swap up.
Findings check_daemon(const Answer& answer, bool has_orphans);

// The settings of the config files.
Result<control::UpRequest> read_settings(const ConfigPaths& paths);
Finding check_settings(const Result<control::UpRequest>& settings);

}  // namespace vramswap::swapctl
