// How the supervisor gets at a worker: the process, and the channel to it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/handover/channel.hpp"
#include "daemon/supervisor/asio.hpp"

namespace vramswap {

// A worker's process and the supervisor's end of the channel to it.
class WorkerLink {
 public:
  virtual ~WorkerLink() = default;

  virtual pid_t pid() const = 0;
  // Does not wait. See send_packet for the errors.
  virtual Result<void> send(std::string_view text, std::span<const int> fds) = 0;
  // The next packet; nothing at the channel's end, or once it is closed. See receive_packet.
  virtual awaitable<Result<std::optional<Packet>>> receive() = 0;
  // A packet that is there already; EAGAIN: there is none.
  virtual Result<std::optional<Packet>> receive_now() = 0;
  // The worker sees the channel's end. Wakes receive().
  virtual void close() = 0;
  virtual bool is_open() const = 0;

  // Returns when the process has ended, with its wait status if it is a child of this process.
  virtual awaitable<std::optional<int>> wait_for_exit() = 0;
  virtual void kill() = 0;
  // Continues it where somebody has stopped it.
  virtual void resume() {}
  virtual Result<std::uint64_t> resident_bytes() const = 0;
};

class WorkerLauncher {
 public:
  virtual ~WorkerLauncher() = default;

  // Starts this same program as a worker.
  virtual Result<std::shared_ptr<WorkerLink>> spawn() = 0;
  // The sockets in `runtime_directory` that workers listen on, and those that dead ones left.
  virtual std::vector<std::string> find_sockets(const std::string& runtime_directory) const = 0;
  // The worker that listens at `socket`. ECONNREFUSED: none does.
  virtual Result<std::shared_ptr<WorkerLink>> reattach(const std::string& socket) = 0;
  // Removes a socket that no worker listens on any more.
  virtual void remove_socket(const std::string& socket) = 0;
};

}  // namespace vramswap
