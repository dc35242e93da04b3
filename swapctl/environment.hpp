// The inputs and outputs of the commands.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <iosfwd>
#include <string>

#include "daemon/control/protocol.hpp"
#include "daemon/control/scratch.hpp"
#include "swapctl/config.hpp"
#include "swapctl/control_client.hpp"

namespace vramswap::swapctl {

enum ExitCode : int {
  kDone = 0,
  kFailed = 1,
  kWrongUsage = 2,  // also: a config file that `up` cannot use
  kNothingUp = 3,   // `status` only
};

struct Environment {
  std::ostream& out;
  std::ostream& err;
  bool err_is_terminal = false;  // show progress there
  bool out_is_terminal = false;  // `status --watch` redraws it
  bool is_root = false;
  std::filesystem::path socket = control::kSocketPath;
  ConfigPaths config = {};
  // `up` calls it when no daemon answers. Starts a daemon and returns a connection to it. An error
  // without a message: the daemon has already printed the reason.
  std::function<Result<ControlClient>(const std::filesystem::path& socket)> start_daemon;
  // The daemon answers `status` from memory: one that is silent for this long is stuck.
  std::chrono::milliseconds status_limit = std::chrono::seconds(10);
  // For `bench`: socket and start of the daemon of a scratch segment, and where the kernel lists
  // swap areas and block devices.
  std::filesystem::path scratch_socket = control::kScratchSocketPath;
  std::function<Result<ControlClient>(const std::filesystem::path& socket)> start_scratch_daemon =
      {};
  std::string swaps_path = "/proc/swaps";
  std::string block_directory = "/sys/block";
  // For `doctor`: the directory that stands for /.
  std::string machine_root = "";
};

}  // namespace vramswap::swapctl
