// Starts vramswapd: through systemd where it runs, else as a detached process.
#pragma once

#include <chrono>
#include <filesystem>
#include <vector>

#include "daemon/base/error.hpp"
#include "daemon/control/scratch.hpp"
#include "swapctl/control_client.hpp"
#include "swapctl/systemd_unit.hpp"

namespace vramswap::swapctl {

// Where to look for vramswapd: the folder of this program, where it is installed, PATH.
std::vector<std::filesystem::path> daemon_directories();

struct DaemonStart {
  // The daemon of a scratch segment is never started through systemd, whose unit serves swap. It
  // may die with its caller's control group.
  Purpose purpose = Purpose::swap;
  Systemd systemd = {};
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
