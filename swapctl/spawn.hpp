// Starts child processes. They share no descriptors with this process, except standard error on
// request.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "daemon/base/error.hpp"

namespace vramswap::swapctl {

struct SpawnOptions {
  bool own_session = false;    // not reached by the signals of this terminal
  bool share_stderr = false;   // false: it is /dev/null, as standard input and output always are
  const char* name = nullptr;  // argument 0 of the child; nullptr: the first word of the command
};

// Starts `command` and returns its process id. Searches PATH for the first word unless it has a
// slash. An error if it cannot be executed.
Result<pid_t> spawn(const std::vector<std::string>& command, const SpawnOptions& options = {});
// Reaps the child and returns its wait status if it has ended; no value if it runs.
Result<std::optional<int>> ended_child(pid_t child);
// Runs `command` to its end and returns its wait status.
Result<int> run_command(const std::vector<std::string>& command, const SpawnOptions& options = {});

}  // namespace vramswap::swapctl
