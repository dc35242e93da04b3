#include "cuda/memory_use.hpp"

#include <dlfcn.h>
#include <fmt/format.h>

#include <memory>

#include "cuda/driver.hpp"

namespace vramswap::cuda {
namespace {

// As nvml.h declares them. Every driver since version 418 has these functions.
struct NvmlMemory {
  unsigned long long total;
  unsigned long long free;
  unsigned long long used;
};
using NvmlDevice = void*;
struct Nvml {
  int (*init)();
  int (*shutdown)();
  int (*device_by_uuid)(const char*, NvmlDevice*);
  int (*memory_info)(NvmlDevice, NvmlMemory*);
};

constexpr const char* library_name = "libnvidia-ml.so.1";

using Library = std::unique_ptr<void, decltype([](void* library) { dlclose(library); })>;

Error error(std::string operation) {
  return {.operation = std::move(operation), .object = library_name, .name = {}, .advice = {}};
}

Library load(const std::string& driver_path) {
  const auto directory_end = driver_path.rfind('/');
  if (directory_end != driver_path.npos) {
    const std::string beside = driver_path.substr(0, directory_end + 1) + library_name;
    if (Library library{dlopen(beside.c_str(), RTLD_NOW | RTLD_LOCAL)}) {
      return library;
    }
  }
  return Library{dlopen(driver_library(library_name).c_str(), RTLD_NOW | RTLD_LOCAL)};
}

template <class Function>
bool find(const Library& library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library.get(), name));
  return function != nullptr;
}

}  // namespace

Result<std::uint64_t> used_memory(const std::string& uuid, const std::string& driver_path) {
  const Library library = load(driver_path);
  if (!library) {
    return error("it cannot be loaded");
  }
  Nvml nvml{};
  if (!find(library, "nvmlInit_v2", nvml.init) || !find(library, "nvmlShutdown", nvml.shutdown) ||
      !find(library, "nvmlDeviceGetHandleByUUID", nvml.device_by_uuid) ||
      !find(library, "nvmlDeviceGetMemoryInfo", nvml.memory_info)) {
    return error("it lacks a function");
  }
  if (const int code = nvml.init(); code != 0) {
    return error(fmt::format("nvmlInit: error {}", code));
  }
  NvmlDevice device = nullptr;
  NvmlMemory memory{};
  int code = nvml.device_by_uuid(uuid.c_str(), &device);
  if (code == 0) {
    code = nvml.memory_info(device, &memory);
  }
  nvml.shutdown();
  if (code != 0) {
    return error(fmt::format("the memory of {}: error {}", uuid, code));
  }
  return memory.used;
}

}  // namespace vramswap::cuda
