// Stores in host memory, to try the program out and to test it without a GPU.
#pragma once

#include <memory>

#include "daemon/system/host_memory.hpp"
#include "daemon/worker/store/store.hpp"

namespace vramswap {

// `meminfo_path` tells the free memory, as /proc/meminfo does.
std::unique_ptr<StoreDevice> make_ram_device(HostMemory memory = HostMemory::swappable,
                                             std::string meminfo_path = "/proc/meminfo");

}  // namespace vramswap
