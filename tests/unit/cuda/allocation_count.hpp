// Counts what the whole process allocates with operator new, loaded libraries included.
#pragma once

#include <cstddef>

namespace vramswap::test {

std::size_t allocation_count();

}  // namespace vramswap::test
