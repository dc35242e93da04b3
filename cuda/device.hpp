// The GPUs that the driver offers, and how a person names one of them.
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
  /// Index, as nvidia-smi counts when CUDA_VISIBLE_DEVICES is not set (see Driver::load). Not
  /// stable over reboots or a card's failure: remember the UUID.
  api::CUdevice ordinal = 0;
  std::string name;                 ///< "NVIDIA H200"
  std::string uuid;                 ///< as nvidia-smi prints it: "GPU-" and 8-4-4-4-12 hex digits
  std::string pci_address;          ///< lower case, dddd:bb:dd.f
  std::uint64_t total_bytes = 0;    ///< a little less than on the box: the driver's share is out
  bool drives_display = false;      ///< kernels have a time limit there, as under a desktop
  bool supports_fd_export = false;  ///< VRAM can be held by a file descriptor

  /// How errors name the device: "GPU 0000:01:00.0".
  std::string label() const { return "GPU " + pci_address; }
};

/// All devices, by index. Never empty: cuInit fails where there is none.
Result<std::vector<DeviceInfo>> list_devices(const Driver&);

/// The one device that `selector` names. Case does not matter. It may be
/// - an index: decimal digits only;
/// - a UUID or the beginning of one, "GPU-" being optional;
/// - a PCI address [domain:]bus:device.function in hex, of any number of digits (nvidia-smi prints
///   8 for the domain). Without a domain, any domain will do.
/// The error lists the devices that there are, or those that `selector` could mean.
Result<DeviceInfo> select_device(std::span<const DeviceInfo> devices, std::string_view selector);
Result<DeviceInfo> select_device(const Driver&, std::string_view selector);

}  // namespace vramswap::cuda
