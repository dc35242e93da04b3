#pragma once

#include <cstdint>

namespace vramswap {

inline constexpr std::uint64_t kMiB = 1 << 20;

}  // namespace vramswap
