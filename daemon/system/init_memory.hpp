// Where the memory of process 1 is counted.
#pragma once

#include <string>

namespace vramswap {

// Whether init has memory that the kernel may swap out although init.scope, its control group, has
// a swap limit: memory that init allocated before it made that group. False also if there is no
// such group, or the kernel keeps no account of it. `status` is /proc/1/status
// (proc_pid_status(5)), `group` a folder of cgroup v2.
bool init_has_memory_outside_its_group(const std::string& status = "/proc/1/status",
                                       const std::string& group = "/sys/fs/cgroup/init.scope");

}  // namespace vramswap
