// The processors that this process may use.
#pragma once

#include <set>
#include <string>

namespace vramswap {

// The numbers of those on which the calling thread may run: taskset, a cpuset (AllowedCPUs=) or
// isolcpus may leave it a few. Empty: the kernel does not say.
std::set<unsigned> allowed_cpus();
// Of those; at least 1.
unsigned count_allowed_cpus();

// The number of physical cores among `cpus`, or of all if that is empty: the hyper-threads of one
// core count once. At least 1, even if sysfs does not have it.
unsigned count_physical_cores(const std::set<unsigned>& cpus,
                              const std::string& cpu_directory = "/sys/devices/system/cpu");

}  // namespace vramswap
