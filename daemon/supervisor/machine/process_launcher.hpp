// Workers as processes of this machine.
#pragma once

#include "daemon/supervisor/machine/worker_launcher.hpp"

namespace vramswap {

class ProcessLauncher : public WorkerLauncher {
 public:
  // `processes` is /proc.
  ProcessLauncher(asio::io_context& io, std::string processes)
      : io_(io), processes_(std::move(processes)) {}

  Result<std::shared_ptr<WorkerLink>> spawn() override;
  std::vector<std::string> find_sockets(const std::string& runtime_directory) const override;
  Result<std::shared_ptr<WorkerLink>> reattach(const std::string& socket) override;
  void remove_socket(const std::string& socket) override;

 private:
  asio::io_context& io_;
  const std::string processes_;
};

}  // namespace vramswap
