// Stores in host memory, for trying out and testing vramswap without a GPU.
#pragma once

#include <memory>

#include "daemon/system/host_memory.hpp"
#include "daemon/worker/store/store.hpp"

namespace vramswap {

// `meminfo_path` is a file like /proc/meminfo; the free memory is read from it.
std::unique_ptr<StoreDevice> make_ram_device(HostMemory memory = HostMemory::swappable,
                                             std::string meminfo_path = "/proc/meminfo");

}  // namespace vramswap
