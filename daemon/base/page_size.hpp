// The unit of swap.
#pragma once

#include <cstdint>

namespace vramswap {

// In bytes. The block size of every device, and the unit of page maps and statistics.
inline constexpr std::uint32_t kPageBytes = 4096;

}  // namespace vramswap
