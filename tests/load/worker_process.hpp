// A worker process and the supervisor's side of its channel, for tests.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "daemon/base/error.hpp"
#include "daemon/base/unique_fd.hpp"
#include "daemon/worker/messages.hpp"

namespace vramswap::load {

// Why this process and its children cannot be hardened as a worker that serves swap must be; empty
// where they can.
std::string why_not_hardened();

class WorkerProcess {
 public:
  // Runs `command` with the channel as descriptor 3.
  static Result<WorkerProcess> spawn(const std::vector<std::string>& command);
  WorkerProcess(WorkerProcess&& other) noexcept;
  WorkerProcess& operator=(WorkerProcess&& other) noexcept;
  ~WorkerProcess();  // kills it

  Result<StoreDeviceInfo> start(control::Backend backend, const std::string& gpu, unsigned threads,
                                std::chrono::seconds doze_after = std::chrono::seconds(0));
  // The new store's descriptor.
  Result<UniqueFd> create(std::uint32_t segment, std::uint64_t size_bytes, int page_map);
  Result<void> import(std::uint32_t segment, std::uint64_t size_bytes, int page_map, int store);
  // A new connection on each of the I/O threads 0..count-1; the kernel's ends of them.
  Result<std::vector<UniqueFd>> connect(std::uint32_t segment, unsigned count);
  Result<void> remove(std::uint32_t segment);

  // Answers come in order; what comes unasked is put aside in `ended` and `state`.
  struct Answer {
    messages::Message message;
    std::vector<UniqueFd> fds;
  };
  Result<Answer> ask(const messages::Request& request, std::vector<int> fds = {});
  Result<Answer> ask_raw(std::string_view text, std::vector<int> fds = {});
  std::vector<messages::ConnectionEnded> ended;
  WorkerState state = WorkerState::fresh;  // as it said last

  // Whether it says within `timeout` that it is in that state.
  bool wait_for(WorkerState wanted, std::chrono::milliseconds timeout);

  int channel() const { return channel_.get(); }
  void close_channel() { channel_.reset(); }
  pid_t pid() const { return pid_; }
  void kill();
  // The exit status, or minus the signal that ended it; nothing while it still runs at the end of
  // `timeout`.
  std::optional<int> wait(std::chrono::milliseconds timeout);

 private:
  // Whether the message came unasked.
  bool put_aside(const messages::Message& message);

  WorkerProcess(pid_t pid, UniqueFd channel) : pid_(pid), channel_(std::move(channel)) {}

  pid_t pid_ = -1;  // -1 once waited for
  UniqueFd channel_;
  std::uint32_t last_connection_ = 0;
};

}  // namespace vramswap::load
