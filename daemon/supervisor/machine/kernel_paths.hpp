// Where the kernel shows itself. Tests and the program pass them down; nothing below has them from
// anywhere else.
#pragma once

#include <string>

namespace vramswap {

struct KernelPaths {
  std::string block_directory = "/sys/block";
  std::string cpu_directory = "/sys/devices/system/cpu";
  std::string processes = "/proc";
  std::string swaps = "/proc/swaps";
  std::string memory_info = "/proc/meminfo";
  std::string overcommit_memory = "/proc/sys/vm/overcommit_memory";
  std::string control_groups = "/sys/fs/cgroup";
  std::string sysrq_trigger = "/proc/sysrq-trigger";
};

}  // namespace vramswap
