// Counts the allocations of the whole process with operator new, loaded libraries included.
#pragma once

#include <cstddef>

namespace vramswap::test {

std::size_t allocation_count();

}  // namespace vramswap::test
