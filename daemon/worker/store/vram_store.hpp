// Stores in VRAM, held by file descriptors.
#pragma once

#include <memory>
#include <string>

#include "daemon/base/error.hpp"
#include "daemon/system/host_memory.hpp"
#include "daemon/worker/store/context_room.hpp"
#include "daemon/worker/store/driver_files.hpp"
#include "daemon/worker/store/store.hpp"

namespace vramswap {

// Loads the CUDA driver and creates a context on the GPU that `selector` names (index, UUID or PCI
// address; empty: the first GPU). The context stays with the process: call this only once. It loads
// the files in `files`, and adds those that are missing there, as far as they can be opened.
// Compiled code is kept in `memory`: a worker that wakes reads it before it serves, so it must not
// be swapped out. If the card is full, it gives up the reserve in `room` and tries again for some
// seconds. info() measures the size of a context, unless it is in `room` already. `room` outlives
// the device. In `drm_directory` the kernel lists display connectors, e.g. card0-DP-1/status.
Result<std::unique_ptr<StoreDevice>> make_vram_device(
    const std::string& selector, DriverFiles& files, HostMemory memory, ContextRoom& room,
    const std::string& drm_directory = "/sys/class/drm");

}  // namespace vramswap
