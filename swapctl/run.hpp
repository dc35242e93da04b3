// The whole of `vramswap` but main(): words in, exit code out, everything outside passed in.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <iosfwd>
#include <span>
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
  // Called by `up` when no daemon answers; returns a connection to the one it started. An error
  // without a message has been reported to the user already.
  std::function<Result<ControlClient>(const std::filesystem::path& socket)> start_daemon;
  // `status` is answered from memory: a daemon silent for this long is stuck.
  std::chrono::milliseconds status_limit = std::chrono::seconds(10);
  // For `bench`: the like of the two above for a scratch segment, and what the kernel says of swap.
  std::filesystem::path scratch_socket = control::kScratchSocketPath;
  std::function<Result<ControlClient>(const std::filesystem::path& socket)> start_scratch_daemon =
      {};
  std::string swaps_path = "/proc/swaps";
  std::string block_directory = "/sys/block";
};

// `words` are those after the program's name.
int run(std::span<const char* const> words, const Environment& environment);

}  // namespace vramswap::swapctl
