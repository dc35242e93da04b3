// A worker process and the supervisor's side of its channel, for tests.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "daemon/base/error.hpp"
#include "daemon/base/unique_fd.hpp"
#include "daemon/handover/messages.hpp"

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

  Result<StoreDeviceInfo> start(control::Backend backend, const std::string& gpu, unsigned threads);
  Result<StoreDeviceInfo> start(const messages::Start& start, std::vector<int> fds = {});
  // The new store's descriptor.
  Result<UniqueFd> create(std::uint32_t segment, std::uint64_t size_bytes, int page_map);
  Result<void> import(std::uint32_t segment, std::uint64_t size_bytes, int page_map, int store);
  // A new connection on each of the I/O threads 0..count-1; the kernel's ends of them.
  Result<std::vector<UniqueFd>> connect(std::uint32_t segment, unsigned count);
  Result<void> remove(std::uint32_t segment);
  Result<void> describe(const std::string& text);
  Result<messages::Adopted> adopt();
  // Page map and store.
  Result<std::vector<UniqueFd>> hand_over(std::uint32_t segment);
  Result<void> replace(const std::string& program);
  Result<control::IoStats> stats();

  // Replaces the channel by a new one, through the worker socket at `path`, as the next supervisor
  // does. It is an error if another process listens there.
  Result<void> reattach(const std::string& path);
  // Whether the last state that the worker has sent by the end of `timeout` is `wanted`.
  bool wait_for_state(WorkerState wanted, std::chrono::milliseconds timeout);

  // Answers come in order. Messages that are no answers go into `ended`, `context_reserve`, `state`
  // and `lost_pages_changes`.
  struct Answer {
    messages::Message message;
    std::vector<UniqueFd> fds;
  };
  Result<Answer> ask(const messages::Request& request, std::vector<int> fds = {});
  Result<Answer> ask_raw(std::string_view text, std::vector<int> fds = {});
  std::vector<messages::ConnectionEnded> ended;
  UniqueFd context_reserve;                // empty: the worker has none, or gave it up
  unsigned lost_pages_changes = 0;         // messages that said so
  WorkerState state = WorkerState::fresh;  // the last one that it sent

  int channel() const { return channel_.get(); }
  void close_channel() { channel_.reset(); }
  pid_t pid() const { return pid_; }
  void kill();
  // The exit status, or minus the signal that ended it; nothing while it still runs at the end of
  // `timeout`.
  std::optional<int> wait(std::chrono::milliseconds timeout);

 private:
  WorkerProcess(pid_t pid, UniqueFd channel) : pid_(pid), channel_(std::move(channel)) {}

  // Nothing for a message that is no answer. An error at the end of the channel.
  Result<std::optional<Answer>> receive();

  pid_t pid_ = -1;  // -1 once waited for
  UniqueFd channel_;
  std::uint32_t last_connection_ = 0;
};

}  // namespace vramswap::load
