// Child processes that share nothing with us but standard error, and that at most.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "daemon/base/error.hpp"

namespace vramswap::swapctl {

struct SpawnOptions {
  bool own_session = false;    // out of the reach of our terminal's signals
  bool share_stderr = false;   // else /dev/null, as standard input and output always
  const char* name = nullptr;  // its argv[0], else the first word of the command
};

// Runs `command`, whose first word is looked for in PATH unless it has a slash. An error if it
// cannot be executed.
Result<pid_t> spawn(const std::vector<std::string>& command, const SpawnOptions& how = {});
// The child's wait status if it has ended; it is reaped then.
Result<std::optional<int>> ended_child(pid_t child);
// Runs `command` to its end and returns its wait status.
Result<int> run_command(const std::vector<std::string>& command);

}  // namespace vramswap::swapctl
