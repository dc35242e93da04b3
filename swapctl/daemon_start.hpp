// Starting vramswapd where none runs: through systemd if it is installed there, else detached.
#pragma once

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include "daemon/base/error.hpp"
#include "daemon/control/scratch.hpp"
#include "swapctl/control_client.hpp"

namespace vramswap::swapctl {

// Beside our own program, where it is installed, in PATH.
std::vector<std::filesystem::path> daemon_directories();

struct DaemonStart {
  // For a scratch segment it is always a process of its own: systemd's is the one that serves swap.
  Purpose purpose = Purpose::swap;
  std::filesystem::path systemd_directory = "/run/systemd/system";  // there if systemd runs
  std::string systemctl = "systemctl";
  std::vector<std::filesystem::path> directories = daemon_directories();
  // A daemon listens before it touches a GPU; one that takes longer than this hangs.
  std::chrono::milliseconds limit = std::chrono::seconds(15);
  std::chrono::milliseconds poll_interval{20};
};

// Returns a connection to the daemon once it answers at `socket`. An error without a message: the
// daemon said itself, on standard error, why it cannot run.
Result<ControlClient> start_daemon(const std::filesystem::path& socket,
                                   const DaemonStart& start = {});

}  // namespace vramswap::swapctl
