// The supervisor: answers the control socket and signals, and holds the pool.
#pragma once

#include <string>

#include "daemon/base/error.hpp"
#include "daemon/control/protocol.hpp"
#include "daemon/control/scratch.hpp"

namespace vramswap {

// Of everything that outlives a process: what is handed to a worker, kept by it, or kept for the
// next supervisor. A program takes over from one of the same version only.
int handover_version();

struct SupervisorOptions {
  // Log to the kernel's log from the moment it is ready; errors before that go to stderr.
  bool detached = false;
  Purpose purpose = Purpose::swap;
  std::string runtime_directory = std::string(control::kRuntimeDirectory);
  // What a supervisor that has become this program by exec passed on; empty: there was none.
  std::string inherited;
};

// The whole life of the daemon. It first takes over the swap of one that has died, or that it was
// itself before exec. An error means that it could not start, and left everything as it was. EPROTO
// (what is up is of another version) and EOWNERDEAD (it is lost) would come again at once.
Result<void> run_supervisor(SupervisorOptions options);

}  // namespace vramswap
