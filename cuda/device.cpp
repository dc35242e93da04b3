#include "cuda/device.hpp"

#include <fmt/format.h>

#include <array>
#include <cstddef>
#include <iterator>
#include <utility>

#include "cuda/pci_address.hpp"

namespace vramswap::cuda {
namespace {

std::string format_uuid(const api::CUuuid& uuid) {
  std::string text = "GPU";
  for (std::size_t i = 0; i < std::size(uuid.bytes); ++i) {
    if (i == 0 || i == 4 || i == 6 || i == 8 || i == 10) {
      text += '-';
    }
    text += fmt::format("{:02x}", static_cast<unsigned char>(uuid.bytes[i]));
  }
  return text;
}

Result<DeviceInfo> describe(const Driver& driver, int index) {
  DeviceInfo device;
  std::array<char, 256> name{};
  std::array<char, 32> pci_address{};
  api::CUuuid uuid{};
  std::size_t total_bytes = 0;
  int time_limit = 0;
  int compute_mode = 0;
  int virtual_memory = 0;
  int fd_export = 0;

  api::CUdevice& ordinal = device.ordinal;
  const struct {
    const char* call;
    api::CUresult code;
  } answers[] = {
      {"cuDeviceGet", driver->cuDeviceGet(&ordinal, index)},
      {"cuDeviceGetName", driver->cuDeviceGetName(name.data(), name.size(), ordinal)},
      {"cuDeviceGetUuid", driver->cuDeviceGetUuid_v2(&uuid, ordinal)},
      {"cuDeviceGetPCIBusId",
       driver->cuDeviceGetPCIBusId(pci_address.data(), pci_address.size(), ordinal)},
      {"cuDeviceTotalMem", driver->cuDeviceTotalMem_v2(&total_bytes, ordinal)},
      {"cuDeviceGetAttribute KERNEL_EXEC_TIMEOUT",
       driver->cuDeviceGetAttribute(&time_limit, api::CU_DEVICE_ATTRIBUTE_KERNEL_EXEC_TIMEOUT,
                                    ordinal)},
      {"cuDeviceGetAttribute COMPUTE_MODE",
       driver->cuDeviceGetAttribute(&compute_mode, api::CU_DEVICE_ATTRIBUTE_COMPUTE_MODE, ordinal)},
      {"cuDeviceGetAttribute VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED",
       driver->cuDeviceGetAttribute(
           &virtual_memory, api::CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED, ordinal)},
      {"cuDeviceGetAttribute HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED",
       driver->cuDeviceGetAttribute(
           &fd_export, api::CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED,
           ordinal)},
  };
  for (const auto& [call, code] : answers) {
    if (code != api::CUDA_SUCCESS) {
      return std::unexpected(driver.error(code, call, fmt::format("GPU {}", index)));
    }
  }

  // The driver writes the address in upper case; sysfs and lspci do not.
  auto address = parse_pci_address(pci_address.data());
  device.name = name.data();
  device.uuid = format_uuid(uuid);
  device.pci_address = address ? address->text() : pci_address.data();
  device.total_bytes = total_bytes;
  device.drives_display = time_limit != 0;
  device.is_prohibited = compute_mode == api::CU_COMPUTEMODE_PROHIBITED;
  device.is_exclusive = compute_mode == api::CU_COMPUTEMODE_EXCLUSIVE_PROCESS;
  device.supports_fd_export = virtual_memory != 0 && fd_export != 0;
  return device;
}

}  // namespace

Result<std::vector<DeviceInfo>> list_devices(const Driver& driver) {
  int count = 0;
  if (auto code = driver->cuDeviceGetCount(&count); code != api::CUDA_SUCCESS) {
    return std::unexpected(driver.error(code, "cuDeviceGetCount", {}));
  }
  std::vector<DeviceInfo> devices;
  for (int index = 0; index < count; ++index) {
    auto device = describe(driver, index);
    if (!device) {
      return std::unexpected(std::move(device.error()));
    }
    devices.push_back(std::move(*device));
  }
  return devices;
}

Result<DeviceInfo> select_device(const Driver& driver, std::string_view selector) {
  auto devices = list_devices(driver);
  if (!devices) {
    return std::unexpected(std::move(devices.error()));
  }
  return select_device(*devices, selector);
}

}  // namespace vramswap::cuda
