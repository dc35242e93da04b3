// The unit of swap.
#pragma once

#include <cstdint>

namespace vramswap {

// The block size of every device, and the unit of the page maps and of the statistics. In bytes.
inline constexpr std::uint32_t kPageBytes = 4096;

}  // namespace vramswap
