// SIGINT and SIGTERM as a readable descriptor instead of a handler.
#pragma once

#include <csignal>
#include <utility>

#include "daemon/base/error.hpp"
#include "daemon/base/unique_fd.hpp"

namespace vramswap::swapctl {

// Blocks the two signals in the calling thread as long as the object lives, and discards those that
// arrived meanwhile. For programs with one thread.
class Interruption {
 public:
  static Result<Interruption> create();
  Interruption(Interruption&&) noexcept = default;
  Interruption& operator=(Interruption&&) = delete;
  ~Interruption();

  int fd() const { return fd_.get(); }

 private:
  Interruption(UniqueFd fd, const sigset_t& before) : fd_(std::move(fd)), before_(before) {}

  UniqueFd fd_;
  sigset_t before_;
};

}  // namespace vramswap::swapctl
