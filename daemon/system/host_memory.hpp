// Host memory as a file descriptor, to be mapped by several processes and to outlive each of them.
#pragma once

#include <cstdint>

#include "daemon/base/error.hpp"
#include "daemon/base/unique_fd.hpp"

namespace vramswap {

enum class HostMemory {
  // The kernel may swap it out while no process has it locked: for tests, which need no privilege.
  swappable,
  // It never does. What recovery reads must not lie on the very device that waits for it, and a
  // lock goes with the process that holds it. Needs CAP_SYS_ADMIN.
  unswappable,
};

// `bytes` of zeros, that cannot be resized where it is swappable. `name` is for /proc/PID/fd.
Result<UniqueFd> create_host_memory(const char* name, std::uint64_t bytes, HostMemory kind);

}  // namespace vramswap
