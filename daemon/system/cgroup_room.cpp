#include "daemon/system/cgroup_room.hpp"

#include <algorithm>
#include <limits>
#include <sstream>
#include <utility>

#include "daemon/base/directory.hpp"
#include "daemon/system/proc.hpp"

namespace vramswap {
namespace {

constexpr auto kNoLimit = std::numeric_limits<std::uint64_t>::max();

// The number in a file of its own. Nothing: the file is not there, or the group is gone.
std::optional<std::uint64_t> read_bytes(const std::string& path) {
  const auto text = read_file(path);
  if (!text) return std::nullopt;
  if (text->starts_with("max")) return kNoLimit;
  std::uint64_t bytes = 0;
  std::istringstream words(*text);
  if (!(words >> bytes)) return std::nullopt;
  return bytes;
}

std::uint64_t read_limit(const std::string& path) {
  return read_bytes(path).value_or(kNoLimit);
}

struct CgroupMemory {
  std::uint64_t current_bytes = 0;     // memory.current
  std::uint64_t file_cache_bytes = 0;  // part of it that the kernel can drop
  // Part of it, too: pages whose copy in swap is still there. They need no more memory.
  std::uint64_t swap_cache_bytes = 0;
};

// A file that is gone adds nothing.
void add_statistics(const std::string& path, CgroupMemory& memory) {
  const std::string statistics = read_file(path).value_or("");
  memory.file_cache_bytes = find_number(statistics, "inactive_file").value_or(0) +
                            find_number(statistics, "active_file").value_or(0);
  memory.swap_cache_bytes = find_number(statistics, "swapcached").value_or(0);
}

// The bytes that do not fit below the limit. Of the `returning_bytes` the group gets at most as
// many as it has in swap. The kernel does not say in which area they are, so all of them may come
// back.
std::uint64_t excess(const CgroupMemory& memory, std::uint64_t swap_bytes,
                     std::uint64_t returning_bytes, std::uint64_t limit_bytes) {
  if (limit_bytes == kNoLimit) return 0;
  swap_bytes -= std::min(swap_bytes, memory.swap_cache_bytes);
  returning_bytes = std::min(returning_bytes, swap_bytes);
  // Programs need some of their files in memory. As for the machine's MemAvailable, a part of the
  // cache counts as used: here a 64th of the limit, but at most half of the cache.
  const std::uint64_t room =
      memory.file_cache_bytes - std::min(memory.file_cache_bytes / 2, limit_bytes / 64);
  const std::uint64_t needed = memory.current_bytes + returning_bytes;
  return std::min(returning_bytes, needed - std::min(needed, limit_bytes + room));
}

// Its programs go on allocating while pages are being asked for.
std::uint64_t group_margin(std::uint64_t limit_bytes) {
  return std::max<std::uint64_t>(limit_bytes / 32, 4 << 20);
}

// The path of a process's group, as a text of proc_pid_cgroup(5) has it: "ID:CONTROLLERS:PATH" a
// line, and "0::PATH" for cgroup v2. Nothing: cgroup v1 limits its memory, perhaps.
std::optional<std::string> find_group(const std::string& text) {
  std::string group = "/";
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const auto controllers = line.find(':') + 1;
    const auto path = line.find(':', controllers) + 1;
    if (controllers == 0 || path == 0) return std::nullopt;
    if (line.starts_with("0::")) group = line.substr(path);
    const std::string list = "," + line.substr(controllers, path - controllers - 1) + ",";
    if (list.find(",memory,") != list.npos && line.substr(path) != "/") return std::nullopt;
  }
  // Outside of the namespace of whoever asks.
  if (group.starts_with("/..")) return std::nullopt;
  return group;
}

}  // namespace

std::uint64_t read_cgroup_room(const std::string& process_directory, const std::string& root) {
  const auto text = read_file(process_directory + "/cgroup");
  if (!text) return 0;
  auto group = find_group(*text);
  // Without a memory controller it has no files of its own, but those above may have.
  if (!group || (*group != "/" && !read_file(root + *group + "/cgroup.procs"))) return 0;
  std::uint64_t room = kNoLimit;
  for (;;) {
    const std::string directory = root + *group;
    const std::uint64_t limit =
        std::min(read_limit(directory + "/memory.max"), read_limit(directory + "/memory.high"));
    if (limit != kNoLimit) {
      const std::uint64_t used =
          read_bytes(directory + "/memory.current").value_or(limit) + group_margin(limit);
      room = std::min(room, limit - std::min(limit, used));
    }
    if (group->size() <= 1) return room;
    group->resize(group->rfind('/'));
  }
}

CgroupWalk::CgroupWalk(std::uint64_t returning_bytes, std::string root)
    : returning_bytes_(returning_bytes), root_(std::move(root)), to_look_at_{{"", {}, true}} {}

// All the kernel's figures are sums over the group and those below it, pages of groups that are
// gone included, so each group can be judged by its own files.
bool CgroupWalk::look_at_next() {
  if (to_look_at_.empty()) return false;
  Group group = std::move(to_look_at_.back());
  to_look_at_.pop_back();
  const std::string directory = root_ + group.name;
  const auto swap_bytes = read_bytes(directory + "/memory.swap.current");
  // The root of the tree has no such file. Below any other group without one, there is none either.
  const bool is_root = group.name.empty() && !swap_bytes;
  if (!is_root && swap_bytes.value_or(0) == 0) return true;
  if (!is_root) look_at_limits(group, *swap_bytes);
  const auto names = list_subdirectories(directory);
  if (!names) return true;
  for (const std::string& name : *names) {
    to_look_at_.push_back({group.name + "/" + name, group.parent, group.may_swap});
  }
  return true;
}

// Above memory.high the kernel kills no program, but slows the group's programs down until they
// hardly run.
void CgroupWalk::look_at_limits(Group& group, std::uint64_t swap_bytes) {
  const std::string directory = root_ + group.name;
  group.may_swap = group.may_swap && read_limit(directory + "/memory.swap.max") >= swap_bytes;
  const std::uint64_t max = read_limit(directory + "/memory.max");
  const std::uint64_t high = read_limit(directory + "/memory.high");
  const std::uint64_t lowest = std::min(max, high);
  if (lowest == kNoLimit) return;
  const auto current = read_bytes(directory + "/memory.current");
  if (!current) return;
  CgroupMemory memory{.current_bytes = *current};
  // The statistics are the most expensive part for the kernel. A group that fits without their room
  // needs none of them.
  if (excess(memory, swap_bytes, returning_bytes_, lowest) == 0) return;
  add_statistics(directory + "/memory.stat", memory);
  // If it exceeds both, memory.max is worse, because the kernel kills programs.
  const std::uint64_t above_max = excess(memory, swap_bytes, returning_bytes_, max);
  const std::uint64_t above_high = excess(memory, swap_bytes, returning_bytes_, high);
  if (above_max == 0 && above_high == 0) return;
  const bool is_max = above_max > 0;
  found_.push_back({.name = group.name.empty() ? "/" : group.name,
                    .limit = is_max ? "memory.max" : "memory.high",
                    .limit_bytes = is_max ? max : high,
                    .excess_bytes = is_max ? above_max : above_high,
                    .may_swap = group.may_swap,
                    .parent = group.parent});
  group.parent = found_.size() - 1;
}

}  // namespace vramswap
