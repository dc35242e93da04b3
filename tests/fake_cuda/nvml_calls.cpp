// A libnvidia-ml.so.1 that says how much of a fake device is in use, by all processes, and how it
// is set.
#include <cstdio>
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

// As far as it is used: nvmlPciInfo_t.
struct Pci {
  char bus_id_legacy[16];
  unsigned domain;
  unsigned bus;
  unsigned device;
  unsigned pci_device_id;
  unsigned pci_subsystem_id;
  char bus_id[32];
};

constexpr int kSuccess = 0;
constexpr int kNotSupported = 3;
constexpr int kNotFound = 6;
constexpr std::string_view kUuidStart = "GPU-fa4ecada-0000-4000-8000-00000000000";

int number_of(void* device) {
  return static_cast<int>(reinterpret_cast<std::uintptr_t>(device)) - 1;
}

}  // namespace

#define EXPORTED extern "C" [[gnu::visibility("default")]]

EXPORTED int nvmlInit_v2() {
  return kSuccess;
}

EXPORTED int nvmlShutdown() {
  return kSuccess;
}

// A handle is the device's number + 1.
EXPORTED int nvmlDeviceGetCount_v2(unsigned* count) {
  *count = static_cast<unsigned>(fake_cuda::read_configuration().devices);
  return kSuccess;
}

EXPORTED int nvmlDeviceGetHandleByIndex_v2(unsigned index, void** device) {
  if (index >= static_cast<unsigned>(fake_cuda::read_configuration().devices)) {
    return kNotFound;
  }
  *device = reinterpret_cast<void*>(static_cast<std::uintptr_t>(index + 1));
  return kSuccess;
}

EXPORTED int nvmlDeviceGetHandleByUUID(const char* uuid, void** device) {
  const std::string_view name = uuid;
  if (!name.starts_with(kUuidStart) || name.size() != kUuidStart.size() + 1) {
    return kNotFound;
  }
  *device = reinterpret_cast<void*>(static_cast<std::uintptr_t>(name.back() - '0' + 1));
  return kSuccess;
}

EXPORTED int nvmlDeviceGetMemoryInfo(void* device, Memory* memory) {
  const auto configuration = fake_cuda::read_configuration();
  const fake_cuda::DeviceMemory known(
      configuration.directory + "/device" + std::to_string(number_of(device)),
      configuration.memory_bytes);
  memory->total = known.total_bytes();
  memory->free = known.free_bytes();
  memory->used = memory->total - memory->free;
  return kSuccess;
}

EXPORTED int nvmlDeviceGetName(void* device, char* name, unsigned size) {
  std::snprintf(name, size, "Fake GPU %d", number_of(device));
  return kSuccess;
}

EXPORTED int nvmlDeviceGetPciInfo_v3(void* device, Pci* pci) {
  *pci = {};
  std::snprintf(pci->bus_id, sizeof pci->bus_id, "00000000:%02X:00.0", 0x0a + number_of(device));
  return kSuccess;
}

EXPORTED int nvmlDeviceGetComputeMode(void*, int* mode) {
  *mode = fake_cuda::read_configuration().compute_mode;
  return kSuccess;
}

EXPORTED int nvmlDeviceGetDisplayActive(void* device, int* is_active) {
  *is_active = number_of(device) == fake_cuda::read_configuration().display_device ? 1 : 0;
  return kSuccess;
}

EXPORTED int nvmlDeviceGetPersistenceMode(void*, int*) {
  return kNotSupported;
}
