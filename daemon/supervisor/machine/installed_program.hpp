// The program as a file of this machine.
#pragma once

#include <vector>

#include "daemon/supervisor/machine/successor.hpp"

namespace vramswap {

class InstalledProgram : public Successor {
 public:
  // It is started with `arguments` beside the descriptors that it inherits.
  InstalledProgram(asio::io_context& io, std::vector<std::string> arguments);

  std::string path() const override { return path_; }
  awaitable<Result<void>> ask_to_take_over(int handover_version) override;
  Error become(NamedFds fds) override;

 private:
  asio::io_context& io_;
  const std::vector<std::string> arguments_;
  const std::string path_;
};

}  // namespace vramswap
