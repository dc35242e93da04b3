// Stores in VRAM, held by file descriptors.
#pragma once

#include <memory>
#include <string>

#include "daemon/base/error.hpp"
#include "daemon/worker/store/store.hpp"

namespace vramswap {

// Loads the CUDA driver and makes a context on the GPU that `selector` names (index, UUID or PCI
// address; empty: the first). The context belongs to the process for good: call it once.
// `drm_directory` is where the kernel lists display connectors, e.g. card0-DP-1/status.
Result<std::unique_ptr<StoreDevice>> make_vram_device(
    const std::string& selector, const std::string& drm_directory = "/sys/class/drm");

}  // namespace vramswap
