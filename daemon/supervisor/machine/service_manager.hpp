// The service manager, where the daemon runs under one; elsewhere its calls do nothing.
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "daemon/supervisor/asio.hpp"
#include "daemon/supervisor/machine/inherited_fds.hpp"

namespace vramswap {

class ServiceManager {
 public:
  virtual ~ServiceManager() = default;

  virtual void notify_ready() = 0;
  virtual void notify_stopping() = 0;
  // A line that `systemctl status` shows. Never waits, as it is told also while no worker serves;
  // false: it could not be told at once.
  virtual bool notify_status(std::string_view status) = 0;
  // Asks for this much more time to stop, from now.
  virtual void extend_timeout(std::chrono::microseconds timeout) = 0;

  // Whether it stops this daemon only to start it again: the next one may take the swap over.
  virtual awaitable<bool> is_restarting() = 0;

  // It keeps a copy until the descriptor is removed or the unit has stopped for good. The message
  // is sent when this returns, and taken in after wait_for_fdstore().
  virtual void push_to_fdstore(const std::string& name, int fd) = 0;
  virtual void remove_from_fdstore(const std::string& name) = 0;
  virtual void wait_for_fdstore() = 0;
  // The descriptors that it kept for this process. To be called once.
  virtual NamedFds receive_fdstore() = 0;
  // How many it keeps, of what was sent before. 0: there is no service manager; no value: it does
  // not say.
  virtual awaitable<std::optional<std::size_t>> count_fdstore() = 0;

  // Before there is swap: if init has memory that could be swapped out, it gets it out of the way.
  virtual awaitable<void> keep_init_out_of_swap() = 0;
};

}  // namespace vramswap
