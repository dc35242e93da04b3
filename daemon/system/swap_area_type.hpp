// The number by which the kernel calls a swap area, as it is in each entry of a page table.
// /proc/swaps lists the areas in the order of their numbers, but a number may be free: that of an
// area that has gone. Nor does the kernel say it anywhere else, so it is found by what is seen.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "daemon/system/proc.hpp"

namespace vramswap {

// Pages of one area, as seen in page tables.
struct SeenPages {
  std::uint64_t last_offset = 0;
  std::uint64_t count = 0;  // of one process
};
using SeenTypes = std::map<unsigned, SeenPages>;

// The type of `areas[index]`. Nothing: it has not been seen, or more than one type that was seen
// might be that of the area. `areas` is what /proc/swaps has after `seen` was seen.
std::optional<unsigned> find_area_type(const std::vector<SwapArea>& areas, std::size_t index,
                                       const SeenTypes& seen);

}  // namespace vramswap
