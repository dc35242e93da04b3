// Short-lived child processes, waited for on the reactor.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "daemon/supervisor/asio.hpp"
#include "daemon/supervisor/machine/program.hpp"

namespace vramswap {

class Child {
 public:
  static Result<Child> start(asio::io_context& io, const Program& program);
  Child(Child&&) = default;
  // Kills and reaps it, unless wait() has. One that does not end at once is left.
  ~Child();

  // Its wait status (wait(2)), once. An error: somebody else has it, or the kernel keeps none.
  awaitable<Result<int>> wait();
  // The same without the reactor, which waits meanwhile. ETIMEDOUT: it has not ended within
  // `limit`, and may be waited for again.
  Result<int> wait_for(std::chrono::milliseconds limit);
  // wait() then tells of SIGKILL, unless the child has ended before.
  void kill();

 private:
  Child(asio::io_context& io, StartedProgram started);

  pid_t pid_;
  std::unique_ptr<WatchedFd> pidfd_;
  bool reaped_ = false;
};

// Runs a program that is in one of the directories of PATH's default or of administration, or that
// has a path, and waits. Success is exit status 0; the error of anything else has the last line
// that it wrote to stderr.
awaitable<Result<void>> run_program(asio::io_context& io, std::vector<std::string> arguments);
// The same. What it has written to stdout, of which it may write no more than a pipe holds: 64 KiB.
awaitable<Result<std::string>> read_program(asio::io_context& io,
                                            std::vector<std::string> arguments);

}  // namespace vramswap
