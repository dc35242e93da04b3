// Coroutines that nobody waits for.
#pragma once

#include "daemon/supervisor/asio.hpp"

namespace vramswap {

// Runs `work` on `io`. An exception that leaves it is logged, and the process aborts: the workers
// and the service manager hold the memory, and the next supervisor takes it over. A supervisor that
// went on with half of an operation done would never finish it.
void spawn(asio::io_context& io, awaitable<void> work);

}  // namespace vramswap
