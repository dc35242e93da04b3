// A worker as the supervisor sees it: a child process that answers requests over a channel.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "daemon/supervisor/asio.hpp"
#include "daemon/worker/channel.hpp"
#include "daemon/worker/messages.hpp"

namespace vramswap {

class WorkerProcess {
 public:
  // Called on the reactor. `on_exit` comes once, with the wait status, after which every call
  // fails.
  struct Handlers {
    std::function<void(messages::ConnectionEnded)> on_connection_ended;
    std::function<void(int status)> on_exit;
  };
  struct Answer {
    messages::Message message;  // Started or Done
    UniqueFd fd;
  };

  // Starts this same program as a worker.
  static Result<std::shared_ptr<WorkerProcess>> spawn(asio::io_context& io, Handlers handlers);
  // A worker that still runs is left running: it serves on until its connections end.
  ~WorkerProcess() = default;
  WorkerProcess(const WorkerProcess&) = delete;

  // Calls are made one after another. Failed messages come back as errors, and so does the end of
  // the worker. A worker that does not answer within `timeout` is killed, for nothing it says later
  // could be told from the answer to the next call.
  awaitable<Result<Answer>> call(messages::Request request, std::vector<int> fds,
                                 std::chrono::seconds timeout);

  // Without regard to what it serves.
  void kill();

  // Tells the worker that it is not needed and waits until it has ended. It must not serve swap.
  awaitable<void> dismiss();

  bool is_running() const { return !exit_status_.has_value(); }
  pid_t pid() const { return pid_; }

 private:
  WorkerProcess(asio::io_context& io, pid_t pid, UniqueFd channel, UniqueFd pidfd,
                Handlers handlers);

  static awaitable<void> read_messages(std::shared_ptr<WorkerProcess> self);
  static awaitable<void> await_exit(std::shared_ptr<WorkerProcess> self);
  void take(Packet packet);
  awaitable<Result<Answer>> exchange(std::string request, std::vector<int> fds,
                                     std::chrono::seconds timeout);

  const pid_t pid_;
  std::unique_ptr<WatchedFd> channel_;
  WatchedFd pidfd_;
  Handlers handlers_;
  std::optional<int> exit_status_;
  bool is_calling_ = false;
  asio::steady_timer next_call_;  // cancelled when a call is over
  std::optional<Result<Answer>> answer_;
  asio::steady_timer answer_or_timeout_;  // cancelled when answer_ is there or the worker has ended
  asio::steady_timer exited_;             // likewise when it has ended
};

}  // namespace vramswap
