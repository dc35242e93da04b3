// SIGINT and SIGTERM as a readable descriptor instead of a handler.
#pragma once

#include <csignal>
#include <utility>

#include "daemon/base/error.hpp"
#include "daemon/base/unique_fd.hpp"

namespace vramswap::swapctl {

// Holds the two signals back from the calling thread for as long as it lives; those that came
// meanwhile are forgotten. For a program of one thread.
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
