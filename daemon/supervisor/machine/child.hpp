// Short-lived child processes, waited for on the reactor.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "daemon/supervisor/asio.hpp"

namespace vramswap {

class Child {
 public:
  // Forks. The child runs `body` and exits with what it returns. It is killed when the supervisor
  // dies, and has none of its privileges over memory (see soften_child).
  static Result<Child> start(asio::io_context& io, const std::function<int()>& body);
  Child(Child&&) = default;
  // Kills and reaps it, unless `wait` has.
  ~Child();

  // The wait status (wait(2)), once.
  awaitable<int> wait();
  // It then ends with SIGKILL in its wait status.
  void kill();

 private:
  Child(asio::io_context& io, pid_t pid, UniqueFd pidfd);

  pid_t pid_;
  std::unique_ptr<WatchedFd> pidfd_;
  bool reaped_ = false;
};

// The pidfd of a child that has not been reaped: readable when it ends.
Result<UniqueFd> open_pidfd(pid_t pid);

// Reaps a child that has ended, and returns its wait status.
int reap(pid_t pid);

// Runs a program found by PATH or in the directories of administration, and waits. Success is exit
// status 0; the error of anything else has the last line that it wrote to stderr.
awaitable<Result<void>> run_program(asio::io_context& io, std::vector<std::string> arguments);

}  // namespace vramswap
