// The supervisor: answers the control socket and signals, and holds the pool.
#pragma once

#include <string>

#include "daemon/base/error.hpp"
#include "daemon/control/protocol.hpp"

namespace vramswap {

struct SupervisorOptions {
  // Log to the kernel's log from the moment it is ready; errors before that go to stderr.
  bool detached = false;
  std::string runtime_directory = std::string(control::kRuntimeDirectory);
};

// The whole life of the daemon. An error means that it could not start, and left nothing behind.
Result<void> run_supervisor(const SupervisorOptions& options);

}  // namespace vramswap
