// A libnvidia-ml.so.1 that says how much of a fake device is in use, by all processes.
#include <cstdlib>
#include <string>
#include <string_view>

#include "tests/fake_cuda/configuration.hpp"
#include "tests/fake_cuda/device_memory.hpp"

namespace {

struct Memory {
  unsigned long long total;
  unsigned long long free;
  unsigned long long used;
};

constexpr int success = 0;
constexpr int not_found = 6;
constexpr std::string_view uuid_start = "GPU-fa4ecada-0000-4000-8000-00000000000";

}  // namespace

#define EXPORTED extern "C" [[gnu::visibility("default")]]

EXPORTED int nvmlInit_v2() {
  return success;
}

EXPORTED int nvmlShutdown() {
  return success;
}

// A handle is the device's number + 1.
EXPORTED int nvmlDeviceGetHandleByUUID(const char* uuid, void** device) {
  const std::string_view name = uuid;
  if (!name.starts_with(uuid_start) || name.size() != uuid_start.size() + 1) {
    return not_found;
  }
  *device = reinterpret_cast<void*>(static_cast<std::uintptr_t>(name.back() - '0' + 1));
  return success;
}

EXPORTED int nvmlDeviceGetMemoryInfo(void* device, Memory* memory) {
  const auto configuration = fake_cuda::read_configuration();
  const auto number = reinterpret_cast<std::uintptr_t>(device) - 1;
  const fake_cuda::DeviceMemory known(configuration.directory + "/device" + std::to_string(number),
                                      configuration.memory_bytes);
  memory->total = known.total_bytes();
  memory->free = known.free_bytes();
  memory->used = memory->total - memory->free;
  return success;
}
