#include "swapctl/interruption.hpp"

#include <sys/signalfd.h>

#include <cerrno>

namespace vramswap::swapctl {

Result<Interruption> Interruption::create() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  UniqueFd fd(signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd) return fail_errno("SIGINT", "signalfd", errno);
  sigset_t before;
  if (const int error = pthread_sigmask(SIG_BLOCK, &signals, &before); error != 0) {
    return fail_errno("SIGINT", "pthread_sigmask", error);
  }
  return Interruption(std::move(fd), before);
}

Interruption::~Interruption() {
  if (!fd_) return;
  // A signal that is still pending when the mask is removed would kill this process.
  signalfd_siginfo received;
  while (read(fd_.get(), &received, sizeof received) > 0) {
  }
  pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

}  // namespace vramswap::swapctl
