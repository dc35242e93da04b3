#include "cuda/device_survey.hpp"

#include <fmt/format.h>

#include <array>
#include <utility>

#include "cuda/driver_types.hpp"
#include "cuda/nvml.hpp"
#include "cuda/pci_address.hpp"

namespace vramswap::cuda {
namespace {

/// As nvml.h declares it for nvmlDeviceGetPciInfo_v3.
struct NvmlPci {
  char bus_id_legacy[16];
  unsigned domain;
  unsigned bus;
  unsigned device;
  unsigned pci_device_id;
  unsigned pci_subsystem_id;
  char bus_id[32];  // "00000000:01:00.0"
};

struct Functions {
  int (*count)(unsigned*);
  int (*device_by_index)(unsigned, NvmlDevice*);
  int (*name)(NvmlDevice, char*, unsigned);
  int (*pci)(NvmlDevice, NvmlPci*);
  int (*memory)(NvmlDevice, NvmlMemory*);
  int (*compute_mode)(NvmlDevice, int*);
  int (*display)(NvmlDevice, int*);
  int (*persistence)(NvmlDevice, int*);
};

/// 0 if the GPU does not have this value.
int value_of(int (*function)(NvmlDevice, int*), NvmlDevice device) {
  int value = 0;
  return function(device, &value) == kNvmlSuccess ? value : 0;
}

Result<SurveyedDevice> survey(const Functions& nvml, unsigned index) {
  NvmlDevice device = nullptr;
  NvmlPci pci{};
  NvmlMemory memory{};
  std::array<char, 96> name{};
  int code = nvml.device_by_index(index, &device);
  if (code == kNvmlSuccess) {
    code = nvml.pci(device, &pci);
  }
  if (code == kNvmlSuccess) {
    code = nvml.memory(device, &memory);
  }
  if (code != kNvmlSuccess) {
    return Nvml::error(fmt::format("GPU {}: error {}", index, code));
  }
  const auto address = parse_pci_address(pci.bus_id);
  nvml.name(device, name.data(), name.size());
  const int compute_mode = value_of(nvml.compute_mode, device);
  return SurveyedDevice{
      .name = name.data(),
      .pci_address = address ? address->text() : pci.bus_id,
      .total_bytes = memory.total,
      .free_bytes = memory.free,
      .is_prohibited = compute_mode == api::CU_COMPUTEMODE_PROHIBITED,
      .is_exclusive = compute_mode == api::CU_COMPUTEMODE_EXCLUSIVE_PROCESS,
      .drives_display = value_of(nvml.display, device) != 0,
      .is_persistent = value_of(nvml.persistence, device) != 0,
  };
}

}  // namespace

Result<std::vector<SurveyedDevice>> survey_devices(const std::string& library) {
  const auto nvml = Nvml::load(library);
  if (!nvml) {
    return std::unexpected(nvml.error());
  }
  Functions functions{};
  if (!nvml->find("nvmlDeviceGetCount_v2", functions.count) ||
      !nvml->find("nvmlDeviceGetHandleByIndex_v2", functions.device_by_index) ||
      !nvml->find("nvmlDeviceGetName", functions.name) ||
      !nvml->find("nvmlDeviceGetPciInfo_v3", functions.pci) ||
      !nvml->find("nvmlDeviceGetMemoryInfo", functions.memory) ||
      !nvml->find("nvmlDeviceGetComputeMode", functions.compute_mode) ||
      !nvml->find("nvmlDeviceGetDisplayActive", functions.display) ||
      !nvml->find("nvmlDeviceGetPersistenceMode", functions.persistence)) {
    return Nvml::error("it lacks a function");
  }
  unsigned count = 0;
  if (const int code = functions.count(&count); code != kNvmlSuccess) {
    return Nvml::error(fmt::format("nvmlDeviceGetCount: error {}", code));
  }
  std::vector<SurveyedDevice> devices;
  for (unsigned index = 0; index < count; ++index) {
    auto device = survey(functions, index);
    if (!device) {
      return std::unexpected(device.error());
    }
    devices.push_back(*std::move(device));
  }
  return devices;
}

}  // namespace vramswap::cuda
