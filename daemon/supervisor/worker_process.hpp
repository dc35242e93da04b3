// A worker as the supervisor sees it: a process that answers requests over a channel. It is a
// child, or was one of a supervisor that has died.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/control/io_stats.hpp"
#include "daemon/handover/channel.hpp"
#include "daemon/handover/messages.hpp"
#include "daemon/supervisor/asio.hpp"

namespace vramswap {

class WorkerProcess {
 public:
  // It answers within a millisecond, unless it is busy with a context or a scrub, or stands still:
  // whoever asks for the status is not to wait for that.
  static constexpr std::chrono::milliseconds kStatsLimit{200};
  static constexpr std::chrono::milliseconds kStatsAge{1000};

  // Called on the reactor. `on_exit` comes once, after which every call fails.
  struct Handlers {
    std::function<void(messages::ConnectionEnded)> on_connection_ended;
    std::function<void(WorkerState)> on_state_changed;
    std::function<void()> on_exit;
  };
  struct Answer {
    messages::Message message;  // Started, Done or Adopted
    std::vector<UniqueFd> fds;
  };

  // Starts this same program as a worker.
  static Result<std::shared_ptr<WorkerProcess>> spawn(asio::io_context& io, Handlers handlers);
  // The worker that listens at `path`, see rendezvous.hpp.
  static Result<std::shared_ptr<WorkerProcess>> meet(asio::io_context& io, const std::string& path,
                                                     Handlers handlers);
  // A worker that still runs is left running: it serves on until its connections end.
  ~WorkerProcess() = default;
  WorkerProcess(const WorkerProcess&) = delete;

  // Calls are made one after another. Failed messages come back as errors, and so does the end of
  // the worker. A worker that does not answer within `timeout` is killed, for nothing it says later
  // could be told from the answer to the next call.
  awaitable<Result<Answer>> call(messages::Request request, std::vector<int> fds,
                                 std::chrono::seconds timeout);

  // Asks for the stats, if nobody has; beside the calls, and without harm if it does not answer.
  void request_stats();
  // Until they are there, or kStatsLimit after they were asked for.
  awaitable<void> await_stats();
  // If they are not older than kStatsAge.
  std::optional<control::IoStats> stats() const;

  // Without regard to what it serves.
  void kill();

  // Tells the worker that it is not needed and waits until it has ended. It must not serve swap.
  awaitable<void> dismiss();

  bool is_running() const { return !has_ended_; }
  pid_t pid() const { return pid_; }
  // As it said last.
  WorkerState state() const { return state_; }
  // "exit status 10", "killed by signal 9 (Killed)"; of one that is no child only "ended".
  std::string how_it_ended() const;

 private:
  WorkerProcess(asio::io_context& io, pid_t pid, UniqueFd channel, UniqueFd pidfd,
                Handlers handlers);

  static std::shared_ptr<WorkerProcess> watch(std::shared_ptr<WorkerProcess> worker,
                                              asio::io_context& io);

  static awaitable<void> read_messages(std::shared_ptr<WorkerProcess> self);
  static awaitable<void> await_exit(std::shared_ptr<WorkerProcess> self);
  void take(Packet packet);
  awaitable<Result<Answer>> exchange(std::string request, std::vector<int> fds,
                                     std::chrono::seconds timeout);

  const pid_t pid_;
  std::unique_ptr<WatchedFd> channel_;
  WatchedFd pidfd_;
  Handlers handlers_;
  WorkerState state_ = WorkerState::fresh;
  bool has_ended_ = false;
  std::optional<int> exit_status_;  // of a child
  bool is_calling_ = false;
  asio::steady_timer next_call_;  // cancelled when a call is over
  std::optional<Result<Answer>> answer_;
  asio::steady_timer answer_or_timeout_;  // cancelled when answer_ is there or the worker has ended
  asio::steady_timer exited_;             // likewise when it has ended
  bool stats_requested_ = false;
  asio::steady_timer stats_or_timeout_;  // cancelled when they are there or the worker has ended
  std::optional<control::IoStats> stats_;
  std::chrono::steady_clock::time_point stats_came_at_;
};

}  // namespace vramswap
