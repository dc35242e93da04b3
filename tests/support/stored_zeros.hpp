// A page map that hides nothing of a store that should hold zeros.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "daemon/base/page_size.hpp"
#include "daemon/handover/page_map.hpp"
#include "daemon/worker/io/page_check.hpp"

namespace vramswap::load {

// Every page is valid, with the checksum of zeros: any other byte in the store is an error.
inline UniqueFd make_map_of_stored_zeros(std::uint64_t page_count) {
  const std::array<std::byte, kPageBytes> zeros{};
  UniqueFd fd = PageMap::create(page_count).value();
  PageMap map = PageMap::map(fd.get(), page_count).value();
  for (std::uint64_t page = 0; page < page_count; ++page) {
    map.set_valid(page, page_checksum(zeros));
  }
  return fd;
}

}  // namespace vramswap::load
