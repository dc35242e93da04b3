// Asks for the pages of a swap area ahead of swapoff(2), which reads them one after another and
// waits for each few. It runs in a process of its own (see swap_call.hpp), which may hang or be
// killed at any moment: it changes nothing but speed. What it asks for stays in the swap cache
// until swapoff comes there, so it asks for no more than there is room for.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "daemon/supervisor/machine/kernel_paths.hpp"
#include "daemon/system/swapped_pages.hpp"

namespace vramswap {

struct ReadAheadCalls {
  // process_madvise(2) with MADV_WILLNEED. False: there is no use in going on.
  std::function<bool(pid_t, const std::vector<AddressRange>&)> ask;
  // Lets time pass. False: the end.
  std::function<bool(std::chrono::milliseconds)> sleep;
};

// Asks for what is in swap on `device` ("/dev/nbd3"), process by process.
void read_ahead(const std::string& device, const KernelPaths& paths, const ReadAheadCalls& calls);

// The kernel's own calls.
ReadAheadCalls kernel_read_ahead_calls();

}  // namespace vramswap
