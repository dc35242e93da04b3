// The GPUs that the driver offers, and how a user names one of them.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cuda/driver.hpp"
#include "cuda/error.hpp"

namespace vramswap::cuda {

struct DeviceInfo {
  /// The index that nvidia-smi shows, unless CUDA_VISIBLE_DEVICES is set (see Driver::load). It may
  /// change at a reboot or when a card fails: remember the UUID instead.
  api::CUdevice ordinal = 0;
  std::string name;                 ///< "NVIDIA H200"
  std::string uuid;                 ///< as nvidia-smi prints it: "GPU-" and 8-4-4-4-12 hex digits
  std::string pci_address;          ///< lower case, dddd:bb:dd.f
  std::uint64_t total_bytes = 0;    ///< without the memory that the driver reserves
  bool drives_display = false;      ///< the driver limits the run time of kernels, as for a desktop
  bool is_prohibited = false;       ///< its compute mode lets nobody make a context
  bool is_exclusive = false;        ///< its compute mode lets one process at a time have a context
  bool supports_fd_export = false;  ///< VRAM can be held by a file descriptor

  /// How errors name the device: "GPU 0000:01:00.0".
  std::string label() const { return "GPU " + pci_address; }
};

/// All devices, by index. Never empty, because cuInit fails if there is none.
Result<std::vector<DeviceInfo>> list_devices(const Driver&);

/// The one device that `selector` names. Case does not matter. It may be
/// - an index: decimal digits only;
/// - a UUID or the beginning of one, "GPU-" being optional;
/// - a PCI address [domain:]bus:device.function in hex, with any number of digits (nvidia-smi
/// prints
///   8 for the domain). Without a domain, every domain matches.
/// The error lists all devices if none matches, or those that match if several do.
Result<DeviceInfo> select_device(std::span<const DeviceInfo> devices, std::string_view selector);
Result<DeviceInfo> select_device(const Driver&, std::string_view selector);

}  // namespace vramswap::cuda
