// The supervisor process: its lock, its control socket, its signals, and the service behind them.
#pragma once

#include <string>

#include "daemon/base/error.hpp"
#include "daemon/supervisor/machine/machine.hpp"
#include "daemon/supervisor/pool/pool_options.hpp"

namespace vramswap {

struct SupervisorOptions {
  // Log to the kernel's log from the moment it is ready; errors before that go to stderr.
  bool detached = false;
  // The pool goes with the client that asked for it, and the runtime directory with the daemon.
  bool ends_with_client = false;
  PoolOptions pool;
  // What a supervisor that has become this program by exec passed on; empty: there was none.
  std::string inherited;
};

// The whole life of the daemon. It first takes over the swap of one that has died, or that it was
// itself before exec. An error means that it could not start, and left everything as it was. EPROTO
// (what is up is of another version) and EOWNERDEAD (it is lost) would come again at once.
Result<void> run_supervisor(Machine& machine, SupervisorOptions options);

}  // namespace vramswap
