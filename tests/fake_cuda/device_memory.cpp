#include "tests/fake_cuda/device_memory.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <utility>

namespace fake_cuda {
namespace {

[[noreturn]] void die(const std::string& what) {
  std::perror(("fake libcuda: " + what).c_str());
  std::abort();
}

class File {
 public:
  explicit File(int fd) : fd_(fd) {}
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() {
    if (fd_ >= 0) {
      close(fd_);
    }
  }
  int fd() const { return fd_; }
  int take() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

File open_device(const std::string& path, std::uint64_t total_bytes) {
  int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0 || ftruncate(fd, static_cast<off_t>(total_bytes)) != 0) {
    die(path);
  }
  return File(fd);
}

struct flock range_lock(std::uint64_t offset, std::uint64_t size_bytes) {
  struct flock lock {};  // l_pid must be 0 for locks of open file descriptions
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = static_cast<off_t>(offset);
  lock.l_len = static_cast<off_t>(size_bytes);
  return lock;
}

/// One of the allocations that reach into [begin, end), asked through a description that holds
/// none itself.
std::optional<DeviceMemory::Range> allocation_within(int fd, std::uint64_t begin,
                                                     std::uint64_t end) {
  struct flock lock = range_lock(begin, end - begin);
  if (fcntl(fd, F_OFD_GETLK, &lock) != 0) {
    die("F_OFD_GETLK");
  }
  if (lock.l_type == F_UNLCK) {
    return std::nullopt;
  }
  return DeviceMemory::Range{.offset = static_cast<std::uint64_t>(lock.l_start),
                             .size_bytes = static_cast<std::uint64_t>(lock.l_len)};
}

std::uint64_t used_within(int fd, std::uint64_t begin, std::uint64_t end) {
  if (begin >= end) {
    return 0;
  }
  auto found = allocation_within(fd, begin, end);
  if (!found) {
    return 0;
  }
  std::uint64_t found_end = found->offset + found->size_bytes;
  return found->size_bytes + used_within(fd, begin, found->offset) +
         used_within(fd, found_end, end);
}

}  // namespace

DeviceMemory::DeviceMemory(std::string path, std::uint64_t total_bytes)
    : path_(std::move(path)), total_bytes_(total_bytes) {
  open_device(path_, total_bytes_);
}

std::uint64_t DeviceMemory::free_bytes() const {
  File device = open_device(path_, total_bytes_);
  return total_bytes_ - used_within(device.fd(), 0, total_bytes_);
}

int DeviceMemory::allocate(std::uint64_t size_bytes) const {
  File device = open_device(path_, total_bytes_);
  std::uint64_t offset = 0;
  while (size_bytes <= total_bytes_ && offset <= total_bytes_ - size_bytes) {
    struct flock lock = range_lock(offset, size_bytes);
    if (fcntl(device.fd(), F_OFD_SETLK, &lock) == 0) {
      lseek(device.fd(), static_cast<off_t>(offset), SEEK_SET);
      return device.take();
    }
    if (errno != EAGAIN && errno != EACCES) {
      die("F_OFD_SETLK");
    }
    // Whatever begins before the end of the allocation in the way collides with it too. It may
    // have gone in the meantime: try again then.
    if (auto found = allocation_within(device.fd(), offset, offset + size_bytes)) {
      offset = found->offset + found->size_bytes;
    }
  }
  return -1;
}

int DeviceMemory::allocate_last(std::uint64_t size_bytes) const {
  File device = open_device(path_, total_bytes_);
  std::uint64_t end = total_bytes_;
  while (size_bytes > 0 && size_bytes <= end) {
    struct flock lock = range_lock(end - size_bytes, size_bytes);
    if (fcntl(device.fd(), F_OFD_SETLK, &lock) == 0) {
      return device.take();
    }
    if (errno != EAGAIN && errno != EACCES) {
      die("F_OFD_SETLK");
    }
    if (auto found = allocation_within(device.fd(), end - size_bytes, end)) {
      end = found->offset;
    }
  }
  return -1;
}

std::optional<DeviceMemory::Range> DeviceMemory::range_of(int fd) const {
  File device = open_device(path_, total_bytes_);
  struct stat device_status, status;
  if (fstat(device.fd(), &device_status) != 0 || fstat(fd, &status) != 0 ||
      status.st_dev != device_status.st_dev || status.st_ino != device_status.st_ino) {
    return std::nullopt;
  }
  off_t offset = lseek(fd, 0, SEEK_CUR);
  auto begin = static_cast<std::uint64_t>(std::max<off_t>(offset, 0));
  auto found = allocation_within(device.fd(), begin, begin + 1);
  return found && found->offset == begin ? found : std::nullopt;
}

void DeviceMemory::reset() const {
  unlink(path_.c_str());
}

}  // namespace fake_cuda
