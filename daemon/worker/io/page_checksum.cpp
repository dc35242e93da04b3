#include "daemon/worker/io/page_checksum.hpp"

// Compiled here, because the library's own function uses only instructions that all processors
// have.
#define XXH_INLINE_ALL
#include <xxhash.h>

namespace vramswap {

// In page_checksum_avx2.cpp.
std::uint64_t xxh3_by_avx2(const void* bytes, std::size_t count);

std::uint32_t page_checksum(std::span<const std::byte, kPageBytes> page) {
  static const bool has_avx2 = __builtin_cpu_supports("avx2") > 0;
  const std::uint64_t hash =
      has_avx2 ? xxh3_by_avx2(page.data(), page.size()) : XXH3_64bits(page.data(), page.size());
  return static_cast<std::uint32_t>(hash);
}

}  // namespace vramswap
