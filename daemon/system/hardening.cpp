#include "daemon/system/hardening.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <malloc.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <limits>
#include <string_view>

#include "daemon/base/unique_fd.hpp"
#include "daemon/system/proc.hpp"

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57  // Linux 5.6, include/uapi/linux/prctl.h
#endif

namespace vramswap {
namespace {

constexpr const char* kOomScoreAdj = "/proc/self/oom_score_adj";

// fs/coredump.c: no dump is shorter, so 1 byte stops dumps into files, as 0 does. Only the value 1
// also stops dumps into a program ("|..." in core_pattern), which have no limit otherwise.
constexpr rlim_t kNoCoreDump = 1;

// A supervisor of two cards and sixteen segments uses less than 1 MiB.
constexpr std::size_t kHeapBytes = 1 << 20;

// include/linux/sched.h: the flag that PR_SET_IO_FLUSHER sets.
constexpr std::uint64_t kMemallocNoio = 0x00080000;

int write_text(const char* path, std::string_view text) {
  const UniqueFd fd(open(path, O_WRONLY | O_CLOEXEC));
  if (!fd) return errno;
  return write(fd.get(), text.data(), text.size()) < 0 ? errno : 0;
}

std::unexpected<Error> refuse(const Error& error, std::string_view advice) {
  return std::unexpected(Error{fmt::format("{}; {}", error.message, advice), error.code});
}

}  // namespace

Result<void> lock_memory() {
  if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) {
    return refuse(errno_error("memory", "mlockall", errno), kLockedMemoryAdvice);
  }
  const auto locked = read_locked_bytes("/proc/self/status");
  if (!locked) return locked.error();
  if (*locked == 0)
    return refuse({"memory: mlockall had no effect (VmLck is 0)"}, kLockedMemoryAdvice);
  return {};
}

Result<void> mark_io_flusher() {
  if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) != 0) {
    return refuse(errno_error("thread", "PR_SET_IO_FLUSHER", errno),
                  "it needs CAP_SYS_RESOURCE and Linux 5.6");
  }
  return verify_every_thread_is_io_flusher();
}

void set_io_flusher() {
  prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
}

Result<void> exempt_from_oom_killer() {
  if (const int error = write_text(kOomScoreAdj, "-1000")) {
    return refuse(errno_error(kOomScoreAdj, "write -1000", error), "it needs CAP_SYS_RESOURCE");
  }
  const auto value = read_file(kOomScoreAdj);
  if (!value) return value.error();
  if (*value != "-1000\n") return fail(fmt::format("{}: is not -1000", kOomScoreAdj));
  return {};
}

Result<void> make_realtime(std::string_view thread) {
  const sched_param parameters{.sched_priority = 1};
  if (sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &parameters) != 0) {
    return refuse(errno_error(thread, "SCHED_RR", errno), kRealtimeAdvice);
  }
  const auto line = read_file(fmt::format("/proc/self/task/{}/stat", gettid()));
  if (!line) return line.error();
  const auto stat = parse_thread_stat(*line);
  if (!stat) return stat.error();
  if (stat->scheduling_policy != SCHED_RR || stat->realtime_priority != 1) {
    return fail(fmt::format("{}: SCHED_RR had no effect", thread));
  }
  return {};
}

void keep_heap() {
  mallopt(M_ARENA_MAX, 1);
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
  // Not optimised away, as a call of malloc() would be.
  ::operator delete(::operator new(kHeapBytes));
}

Result<void> forbid_core_dumps() {
  const rlimit limit{.rlim_cur = kNoCoreDump, .rlim_max = kNoCoreDump};
  if (setrlimit(RLIMIT_CORE, &limit) != 0) {
    return refuse(errno_error("core dumps", "RLIMIT_CORE", errno), "it needs CAP_SYS_RESOURCE");
  }
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) {
    return fail_errno("core dumps", "PR_SET_DUMPABLE", errno);
  }
  if (prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0) {
    return fail("core dumps: PR_SET_DUMPABLE had no effect");
  }
  return {};
}

Result<void> verify_every_thread_is_io_flusher() {
  const auto threads = read_thread_stats("/proc/self/task");
  if (!threads) return threads.error();
  for (const ThreadStat& thread : *threads) {
    if ((thread.flags & kMemallocNoio) == 0) {
      return fail("thread: PR_SET_IO_FLUSHER had no effect (no PF_MEMALLOC_NOIO in /proc)");
    }
  }
  return {};
}

Result<void> harden_process() {
  if (auto result = lock_memory(); !result) return result;
  if (auto result = mark_io_flusher(); !result) return result;
  if (auto result = exempt_from_oom_killer(); !result) return result;
  return forbid_core_dumps();
}

void soften_child() {
  write_text(kOomScoreAdj, "0");
}

void end_io_flusher() {
  prctl(PR_SET_IO_FLUSHER, 0, 0, 0, 0);
}

}  // namespace vramswap
