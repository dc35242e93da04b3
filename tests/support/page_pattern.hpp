// The right content of a page: a pattern that depends on the page's number and on how often the
// load has written it. A page that is stale, misplaced, torn or zeroed has wrong words.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace vramswap::load {

// 4 KiB.
using Page = std::array<std::uint64_t, 512>;

// `page` tells all pages of a test apart. Version 0 is a page that was never written: zeros.
void fill(Page& content, std::uint64_t page, std::uint32_t version);
std::size_t count_wrong_words(const Page& content, std::uint64_t page, std::uint32_t version);

}  // namespace vramswap::load
