// The processor's layout, from sysfs.
#pragma once

#include <string>

namespace vramswap {

// The number of physical cores: the hyper-threads of one core count once. At least 1, even if sysfs
// does not have it.
unsigned count_physical_cores(const std::string& cpu_directory = "/sys/devices/system/cpu");

}  // namespace vramswap
