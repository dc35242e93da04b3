// Whether the pages in a swap area fit elsewhere, asked before swapoff(2).
#pragma once

#include <cstdint>
#include <vector>

#include "daemon/base/error.hpp"
#include "daemon/system/proc.hpp"

namespace vramswap {

// `ours` are the paths to be swapped off; every other area counts as room. A margin stays free: a
// 64th of the memory, at least 16 MiB, but no more than is in use. The error says what is missing.
Result<void> check_swap_off_fits(const MemoryInfo& memory, const std::vector<SwapArea>& areas,
                                 const std::vector<std::string>& ours);

}  // namespace vramswap
