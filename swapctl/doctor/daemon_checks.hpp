// The daemon's status, if it runs, and the settings that `up` would read.
#pragma once

#include <optional>

#include "daemon/control/protocol.hpp"
#include "swapctl/doctor/finding.hpp"
#include "swapctl/environment.hpp"

namespace vramswap::swapctl {

// The daemon's answer. No value: none runs. Unlike `status`, it starts no daemon if the last one
// died with its swap up.
using Answer = Result<std::optional<control::Status>>;
Answer ask_daemon(const Environment& environment);

// A finding for each trouble in the status; one if there is none. `has_orphans`: a daemon has died
// with its swap up.
Findings check_daemon(const Answer& answer, bool has_orphans);

// The settings of the config files.
Result<control::UpRequest> read_settings(const ConfigPaths& paths);
Finding check_settings(const Result<control::UpRequest>& settings);

}  // namespace vramswap::swapctl
