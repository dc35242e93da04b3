#include "daemon/system/host_memory.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>

#include "daemon/base/rounding.hpp"
#include "daemon/system/parallel.hpp"

namespace vramswap {
namespace {

constexpr std::size_t kParallelBytes = 32 << 20;

Result<UniqueFd> create_swappable(const char* name, std::uint64_t bytes) {
  UniqueFd fd(memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) return fail_errno(name, "memfd_create", errno);
  if (ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0) {
    return fail_errno(name, "ftruncate", errno);
  }
  // No process can shrink it: page faults of the others would become SIGBUS.
  if (fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return fail_errno(name, "F_ADD_SEALS", errno);
  }
  return fd;
}

// A file without a name, on a ramfs of its own that is mounted nowhere. The kernel never reclaims
// its pages, and frees them with the last descriptor.
Result<UniqueFd> create_unswappable(const char* name, std::uint64_t bytes) {
  const UniqueFd context(fsopen("ramfs", FSOPEN_CLOEXEC));
  if (!context) return fail_errno(name, "fsopen ramfs", errno);
  if (fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) {
    return fail_errno(name, "fsconfig", errno);
  }
  const UniqueFd mount(fsmount(context.get(), FSMOUNT_CLOEXEC, 0));
  if (!mount) return fail_errno(name, "fsmount", errno);
  UniqueFd fd(openat(mount.get(), name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600));
  if (!fd) return fail_errno(name, "openat", errno);
  if (unlinkat(mount.get(), name, 0) != 0) return fail_errno(name, "unlinkat", errno);
  if (ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0) {
    return fail_errno(name, "ftruncate", errno);
  }
  return fd;
}

// One thread makes 4 GB a second resident.
Result<void> populate(const char* name, std::span<std::byte> memory) {
  const std::size_t page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const unsigned threads = memory.size() < kParallelBytes ? 1 : parallel_threads();
  const std::size_t part = round_up(memory.size() / threads + 1, page);
  std::atomic<int> failure = 0;
  run_in_parallel(threads, [&](unsigned thread) {
    const std::size_t first = std::min(thread * part, memory.size());
    const std::size_t bytes = std::min(part, memory.size() - first);
    if (bytes == 0) return;
    while (madvise(memory.data() + first, bytes, MADV_POPULATE_WRITE) != 0) {
      if (errno == EINTR || errno == EAGAIN) continue;
      failure = errno;
      return;
    }
  });
  if (const int error = failure) return fail_errno(name, "MADV_POPULATE_WRITE", error);
  return {};
}

Result<void> prepare(const char* name, std::span<std::byte> memory) {
  if (madvise(memory.data(), memory.size(), MADV_DONTDUMP) != 0) {
    return fail_errno(name, "MADV_DONTDUMP", errno);
  }
  if (mprotect(memory.data(), memory.size(), PROT_READ | PROT_WRITE) != 0) {
    return fail_errno(name, "mprotect", errno);
  }
  return populate(name, memory);
}

}  // namespace

Result<UniqueFd> create_host_memory(const char* name, std::uint64_t bytes, HostMemory kind) {
  return kind == HostMemory::unswappable ? create_unswappable(name, bytes)
                                         : create_swappable(name, bytes);
}

Result<std::span<std::byte>> map_host_memory(const char* name, int fd, std::uint64_t bytes) {
  // Without access, so that a process that is locked in memory does not make it resident here, by
  // one thread.
  void* address = mmap(nullptr, bytes, PROT_NONE, MAP_SHARED, fd, 0);
  if (address == MAP_FAILED) return fail_errno(name, "mmap", errno);
  const std::span memory(static_cast<std::byte*>(address), bytes);
  auto prepared = prepare(name, memory);
  if (prepared) return memory;
  munmap(address, bytes);
  return prepared.error();
}

}  // namespace vramswap
