// Starts vramswapd: through systemd if its unit is installed, else as a detached process.
#pragma once

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include "daemon/base/error.hpp"
#include "daemon/control/scratch.hpp"
#include "swapctl/control_client.hpp"

namespace vramswap::swapctl {

// Where to look for vramswapd: the folder of this program, where it is installed, PATH.
std::vector<std::filesystem::path> daemon_directories();

struct DaemonStart {
  // The daemon of a scratch segment is never started through systemd, whose unit serves swap.
  Purpose purpose = Purpose::swap;
  std::filesystem::path systemd_directory = "/run/systemd/system";  // exists if systemd runs
  std::string systemctl = "systemctl";
  std::vector<std::filesystem::path> directories = daemon_directories();
  // A daemon listens before it uses a GPU; one that does not listen within this time hangs.
  std::chrono::milliseconds limit = std::chrono::seconds(15);
  std::chrono::milliseconds poll_interval{20};
};

// Waits until the daemon answers at `socket` and returns a connection to it. An error without a
// message: the daemon has printed the reason to standard error.
Result<ControlClient> start_daemon(const std::filesystem::path& socket,
                                   const DaemonStart& start = {});

}  // namespace vramswap::swapctl
