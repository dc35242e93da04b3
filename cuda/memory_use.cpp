#include "cuda/memory_use.hpp"

#include <fmt/format.h>

#include "cuda/nvml.hpp"

namespace vramswap::cuda {

// Every driver since version 418 has these functions.
Result<std::uint64_t> used_memory(const std::string& uuid, const std::string& driver_path) {
  const auto nvml = Nvml::open(driver_path);
  if (!nvml) {
    return std::unexpected(nvml.error());
  }
  int (*device_by_uuid)(const char*, NvmlDevice*) = nullptr;
  int (*memory_info)(NvmlDevice, NvmlMemory*) = nullptr;
  if (!nvml->find("nvmlDeviceGetHandleByUUID", device_by_uuid) ||
      !nvml->find("nvmlDeviceGetMemoryInfo", memory_info)) {
    return Nvml::error("it lacks a function");
  }
  NvmlDevice device = nullptr;
  NvmlMemory memory{};
  int code = device_by_uuid(uuid.c_str(), &device);
  if (code == kNvmlSuccess) {
    code = memory_info(device, &memory);
  }
  if (code != kNvmlSuccess) {
    return Nvml::error(fmt::format("the memory of {}: error {}", uuid, code));
  }
  return memory.used;
}

}  // namespace vramswap::cuda
