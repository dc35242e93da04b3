// The checksum of a page's bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "daemon/base/page_size.hpp"

namespace vramswap {

// XXH3, the lower 32 bits: wrong bytes match it by chance once in 4 billion times. The same on
// every processor.
std::uint32_t page_checksum(std::span<const std::byte, kPageBytes> page);

}  // namespace vramswap
