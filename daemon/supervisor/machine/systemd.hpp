// systemd, by libsystemd. A build without it does next to nothing here, and installs no unit that
// needs it.
#pragma once

#include "daemon/supervisor/machine/service_manager.hpp"

namespace vramswap {

class Systemd : public ServiceManager {
 public:
  explicit Systemd(asio::io_context& io) : io_(io) {}

  void notify_ready() override;
  void notify_stopping() override;
  bool notify_status(std::string_view status) override;
  void extend_timeout(std::chrono::microseconds timeout) override;
  // With FDPOLL=0, for a GPU's descriptor cannot be polled.
  void push_to_fdstore(const std::string& name, int fd) override;
  void remove_from_fdstore(const std::string& name) override;
  void wait_for_fdstore() override;
  NamedFds receive_fdstore() override;
  awaitable<std::optional<std::size_t>> count_fdstore() override;
  awaitable<bool> is_restarting() override;
  awaitable<void> keep_init_out_of_swap() override;

 private:
  awaitable<bool> has_jobs();
  awaitable<void> reexecute_init();
  awaitable<void> reexecute_init_when_idle();

  asio::io_context& io_;
};

// Whether `jobs`, as `systemctl list-jobs --plain --no-legend` prints them, has any, or a restart.
bool lists_job(const std::string& jobs);
bool lists_restart(const std::string& jobs);

}  // namespace vramswap
