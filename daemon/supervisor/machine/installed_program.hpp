// The program as a file of this machine.
#pragma once

#include <string>
#include <vector>

#include "daemon/supervisor/machine/successor.hpp"

namespace vramswap {

// Where the file was that a process runs, by the text of its link /proc/PID/exe. The kernel marks
// the text where that file is no longer there.
std::string path_of_program(std::string link);

class InstalledProgram : public Successor {
 public:
  // It is started with `arguments` beside the descriptors that it inherits.
  InstalledProgram(asio::io_context& io, std::vector<std::string> arguments);

  std::string path() const override { return path_; }
  awaitable<Result<void>> ask_to_take_over(int handover_version) override;
  Error become(NamedFds fds) override;
  // The same with the program behind the descriptor `program`.
  Error become(int program, NamedFds fds);

 private:
  std::vector<std::string> prepare(const NamedFds& fds) const;

  asio::io_context& io_;
  const std::vector<std::string> arguments_;
  const std::string path_;
};

}  // namespace vramswap
