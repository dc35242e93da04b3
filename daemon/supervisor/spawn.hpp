// Coroutines that nobody waits for.
#pragma once

#include "daemon/supervisor/asio.hpp"

namespace vramswap {

// Runs `work` on its own. An exception that leaves it is logged, and the process aborts: the
// workers and the service manager hold the memory, and the next supervisor takes it over. A
// supervisor that went on with half of an operation done would never finish it.
void spawn(const asio::any_io_executor& executor, awaitable<void> work);
inline void spawn(asio::io_context& io, awaitable<void> work) {
  spawn(io.get_executor(), std::move(work));
}

}  // namespace vramswap
