// Work that several processors share.
#pragma once

#include <cstdint>
#include <functional>

namespace vramswap {

// How many threads such work is given: the processors that this process has, at most 8, for more do
// not copy memory any faster.
unsigned parallel_threads();

// Calls `work` with 0 to count - 1, each on a thread of its own, the last one on the caller's.
// Returns when all are done. Where there is no further thread to be had, the caller's does more.
void run_in_parallel(unsigned count, const std::function<void(unsigned)>& work);

}  // namespace vramswap
