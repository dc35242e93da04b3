#include "daemon/system/host_memory.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>

namespace vramswap {
namespace {

Result<UniqueFd> create_swappable(const char* name, std::uint64_t bytes) {
  UniqueFd fd(memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) return fail_errno(name, "memfd_create", errno);
  if (ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0) {
    return fail_errno(name, "ftruncate", errno);
  }
  // Nobody can shrink it under another, which would turn a page fault into SIGBUS.
  if (fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return fail_errno(name, "F_ADD_SEALS", errno);
  }
  return fd;
}

// A file without a name on a ramfs of its own that is mounted nowhere: its pages are out of the
// reach of reclaim, whoever has them mapped, and go with the last descriptor.
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

}  // namespace

Result<UniqueFd> create_host_memory(const char* name, std::uint64_t bytes, HostMemory kind) {
  return kind == HostMemory::unswappable ? create_unswappable(name, bytes)
                                         : create_swappable(name, bytes);
}

Result<std::span<std::byte>> map_host_memory(const char* name, int fd, std::uint64_t bytes) {
  void* address = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
  if (address == MAP_FAILED) return fail_errno(name, "mmap", errno);
  if (madvise(address, bytes, MADV_DONTDUMP) != 0) {
    const int error = errno;
    munmap(address, bytes);
    return fail_errno(name, "MADV_DONTDUMP", error);
  }
  return std::span(static_cast<std::byte*>(address), bytes);
}

}  // namespace vramswap
