// How much memory the control groups (cgroup v2) may still take. swapoff(2) moves each page back
// into the group that it belongs to, and if that group is full, the kernel kills its programs, even
// if the machine has free memory.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace vramswap {

// A group with less room than pages in swap.
struct CgroupExcess {
  std::string name;   // "/system.slice/box.service"
  std::string limit;  // the file with the limit, "memory.max" or "memory.high"
  std::uint64_t limit_bytes = 0;
  // Of the pages that come back into it, so much does not fit.
  std::uint64_t excess_bytes = 0;
  // Whether that may go to other swap: no memory.swap.max, its own or that of a
  // group above, is below what is in swap already.
  bool may_swap = true;
  // The nearest group above it that is in the list, by its index. It comes earlier.
  std::optional<std::size_t> parent = {};
};

// Looks at the groups that have pages in swap. There may be thousands, so the caller says when to
// look at the next one. A group that has gone meanwhile, or a kernel without cgroup v2, is no
// error: there is no limit to exceed.
class CgroupWalk {
 public:
  // No group gets more than `returning_bytes` back.
  explicit CgroupWalk(std::uint64_t returning_bytes, std::string root = "/sys/fs/cgroup");

  // Looks at one group. False: there was none left.
  bool look_at_next();
  const std::vector<CgroupExcess>& found() const { return found_; }

 private:
  struct Group {
    std::string name;
    std::optional<std::size_t> parent;
    bool may_swap;
  };
  void look_at_limits(Group& group, std::uint64_t swap_bytes);

  const std::uint64_t returning_bytes_;
  const std::string root_;
  std::vector<Group> to_look_at_;
  std::vector<CgroupExcess> found_;
};

// How many bytes the group of a process may take before it, or a group above it, comes near
// memory.max or memory.high. A margin is taken off, and cache that could be dropped does not count.
// 0 where it is not known: the process is gone, its group cannot be seen from here, or has limits
// of cgroup v1. `process_directory` is e.g. /proc/123.
std::uint64_t read_cgroup_room(const std::string& process_directory,
                               const std::string& root = "/sys/fs/cgroup");

}  // namespace vramswap
