// The processor's layout, from sysfs.
#pragma once

#include <string>

namespace vramswap {

// Cores that can run at the same time without sharing one: hyper-threads count once. At least 1,
// also where sysfs does not tell.
unsigned count_physical_cores(const std::string& cpu_directory = "/sys/devices/system/cpu");

}  // namespace vramswap
