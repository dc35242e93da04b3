// Readers of /proc. The path is an argument, so tests can run on a fake tree.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/error.hpp"

namespace vramswap {

// Reads a whole small file. An error names the file.
Result<std::string> read_file(const std::string& path);

// The number in the line "NAME 123" of a text, as the kernel writes many of its files: of
// proc_meminfo(5) the name is "MemTotal:", of a group's memory.stat "anon".
std::optional<std::uint64_t> find_number(std::string_view text, std::string_view name);

struct MemoryInfo {
  std::uint64_t total_bytes = 0;
  // The kernel's estimate of the memory that it can allocate without swapping.
  std::uint64_t available_bytes = 0;
};
// proc_meminfo(5).
Result<MemoryInfo> read_memory_info(const std::string& path = "/proc/meminfo");

// The memory that programs have allocated, used or not, and the limit: memory and swap count.
struct MemoryCommitment {
  std::uint64_t committed_bytes = 0;  // Committed_AS of proc_meminfo(5)
  std::uint64_t limit_bytes = 0;      // CommitLimit
};
// Nothing: the kernel has no such limit, because vm.overcommit_memory is not 2 (proc(5)).
Result<std::optional<MemoryCommitment>> read_memory_commitment(
    const std::string& overcommit_path = "/proc/sys/vm/overcommit_memory",
    const std::string& memory_info_path = "/proc/meminfo");

struct SwapArea {
  std::string path;  // "/dev/nbd0"
  std::string type;  // "partition", which is any block device, or "file"
  std::uint64_t size_bytes = 0;
  std::uint64_t used_bytes = 0;
  int priority = 0;
};
// proc_swaps(5). Spaces in paths are unescaped (\040).
Result<std::vector<SwapArea>> read_swap_areas(const std::string& path = "/proc/swaps");

// The fields of /proc/PID/task/TID/stat that the safety checks need (proc_pid_stat(5)).
struct ThreadStat {
  std::uint64_t flags = 0;    // field 9, PF_* of include/linux/sched.h
  int realtime_priority = 0;  // field 40
  int scheduling_policy = 0;  // field 41, SCHED_* of sched(7)
};
Result<ThreadStat> parse_thread_stat(std::string_view line);
// Reads the stat of every thread, in no particular order. `task_directory` is e.g. /proc/self/task.
Result<std::vector<ThreadStat>> read_thread_stats(const std::string& task_directory);

// VmLck ("VmLck:   123 kB") and VmRSS of /proc/PID/status, in bytes.
Result<std::uint64_t> read_locked_bytes(const std::string& path = "/proc/self/status");
Result<std::uint64_t> read_resident_bytes(const std::string& path);

}  // namespace vramswap
