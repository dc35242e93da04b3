// Compiled for processors with AVX2, so this file must contain nothing else: the linker could use a
// function from here for all processors.
#include <cstddef>
#include <cstdint>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace vramswap {

std::uint64_t xxh3_by_avx2(const void* bytes, std::size_t count);

std::uint64_t xxh3_by_avx2(const void* bytes, std::size_t count) {
  return XXH3_64bits(bytes, count);
}

}  // namespace vramswap
