// How much of a GPU's memory is in use. NVML knows without a context, which takes memory itself.
#pragma once

#include <cstdint>
#include <string>

#include "cuda/error.hpp"

namespace vramswap::cuda {

/// In bytes, by all programs together and the driver. `uuid` as in DeviceInfo. `driver_path` is
/// where libcuda was found: NVML is loaded from there, otherwise as driver_library() says. An
/// error: there is no NVML of the kernel module's version, or it does not know the GPU. Takes 20
/// ms, and wakes the GPU if it sleeps (measured on an H200).
Result<std::uint64_t> used_memory(const std::string& uuid, const std::string& driver_path);

}  // namespace vramswap::cuda
