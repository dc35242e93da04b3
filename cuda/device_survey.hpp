// What NVML reports of all GPUs, without a context: shows beforehand whether they can serve.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cuda/error.hpp"

namespace vramswap::cuda {

struct SurveyedDevice {
  std::string name;         ///< "NVIDIA H200"
  std::string pci_address;  ///< lower case, dddd:bb:dd.f
  std::uint64_t total_bytes = 0;
  std::uint64_t free_bytes = 0;
  bool is_prohibited = false;   ///< as in DeviceInfo
  bool is_exclusive = false;    ///< as in DeviceInfo
  bool drives_display = false;  ///< a display is attached, and a program has initialised it
  bool is_persistent = false;   ///< the driver stays loaded on the GPU without a client
};

/// By NVML's index. Wakes GPUs that sleep. `library` is a name or a path.
Result<std::vector<SurveyedDevice>> survey_devices(const std::string& library);

}  // namespace vramswap::cuda
