// The owner of a file descriptor: nothing else in the project calls close(2).
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <utility>

namespace vramswap {

class UniqueFd;
// Another descriptor of the same open file, close-on-exec. Empty, with errno set, on failure.
UniqueFd duplicate(int fd);

class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    std::swap(fd_, other.fd_);
    other.reset();
    return *this;
  }
  ~UniqueFd() { reset(); }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  UniqueFd duplicate() const { return vramswap::duplicate(fd_); }
  int release() { return std::exchange(fd_, -1); }
  void reset() {
    // Do not retry on EINTR: Linux has closed the descriptor already.
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

 private:
  int fd_ = -1;
};

inline UniqueFd duplicate(int fd) {
  return UniqueFd(fcntl(fd, F_DUPFD_CLOEXEC, 0));
}

}  // namespace vramswap
