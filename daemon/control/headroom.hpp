// The memory that size "max" leaves to other programs.
#pragma once

#include <cstdint>

namespace vramswap::control {

inline constexpr std::uint64_t kHeadroomBytes = 1ULL << 30;
// A desktop needs more of the card that drives it.
inline constexpr std::uint64_t kDisplayHeadroomBytes = 3ULL << 30;

constexpr std::uint64_t headroom_bytes(bool drives_display) {
  return drives_display ? kDisplayHeadroomBytes : kHeadroomBytes;
}

}  // namespace vramswap::control
