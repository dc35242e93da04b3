// Where a segment's bytes are, and which of its stores has them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace vramswap {

enum class StorePlace : std::uint8_t {
  card,  // in VRAM
  host,  // in host memory
};
inline constexpr std::size_t kStorePlaces = 2;

// A segment gets a new store when it moves, and when the content of its store was lost.
struct StoreId {
  std::uint32_t serial = 0;  // counts the stores of the segment
  StorePlace place = StorePlace::card;

  bool operator==(const StoreId&) const = default;
};

}  // namespace vramswap
