// The systemd service that the daemon runs in: the installed unit, or a transient one.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "daemon/base/error.hpp"

namespace vramswap::swapctl {

struct Systemd {
  std::filesystem::path directory = "/run/systemd/system";  // exists if systemd runs
  std::string systemctl = "systemctl";
  std::string systemd_run = "systemd-run";
};

bool systemd_runs(const Systemd& systemd);
// An error if systemctl cannot tell.
Result<bool> unit_is_known(const Systemd& systemd);
// Both return when the daemon has told systemd that it is ready, or, without libsystemd, runs.
Result<void> start_unit(const Systemd& systemd);
// For a machine where the unit is not installed. A daemon that stayed in its caller's control group
// would die with it: when the user logs out, or when systemd-oomd kills the group. `program` is an
// absolute path.
Result<void> start_transient_unit(const Systemd& systemd, const std::filesystem::path& program);

// The properties of the transient unit, as in contrib/vramswap.service.in.
const std::vector<std::string>& transient_unit_properties();

}  // namespace vramswap::swapctl
