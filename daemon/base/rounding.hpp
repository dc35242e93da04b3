// Sizes in whole steps, such as the pages of a device.
#pragma once

#include <cstdint>

namespace vramswap {

// `step` is not 0.
constexpr std::uint64_t round_down(std::uint64_t value, std::uint64_t step) {
  return value - value % step;
}
constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t step) {
  return round_down(value + step - 1, step);
}

}  // namespace vramswap
