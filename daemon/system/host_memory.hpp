// Host memory as a file descriptor: several processes can map it, and it outlives each of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "daemon/base/error.hpp"
#include "daemon/base/unique_fd.hpp"

namespace vramswap {

enum class HostMemory {
  // The kernel may swap it out while no process has locked it. For tests: needs no privilege.
  swappable,
  // The kernel never swaps it out. A lock does not suffice: it ends with the process that holds it,
  // and then the data that recovery reads could be on the device that waits for recovery. Needs
  // CAP_SYS_ADMIN.
  unswappable,
};

// Returns `bytes` bytes of zeros. Swappable memory cannot be resized. /proc/PID/fd shows `name`.
Result<UniqueFd> create_host_memory(const char* name, std::uint64_t bytes, HostMemory kind);

// Maps all `bytes` of `fd`, resident and shared. Core dumps leave the mapping out: swapped pages of
// other programs pass through it. Errors name `name`.
Result<std::span<std::byte>> map_host_memory(const char* name, int fd, std::uint64_t bytes);

}  // namespace vramswap
