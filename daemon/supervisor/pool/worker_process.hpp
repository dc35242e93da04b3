// A worker as the supervisor sees it: it answers requests over its channel, and ends. It is a child
// of this process, or was one of a supervisor that has died.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/control/io_stats.hpp"
#include "daemon/handover/messages.hpp"
#include "daemon/supervisor/machine/machine.hpp"
#include "daemon/supervisor/pool/gate.hpp"

namespace vramswap {

class WorkerProcess {
 public:
  // A worker reports its statistics within a millisecond, unless it is busy with a context or a
  // scrub, or stands still: the client that asks for the status does not wait for that.
  static constexpr std::chrono::milliseconds kStatsLimit{200};
  // Statistics that are older than this are not shown.
  static constexpr std::chrono::milliseconds kStatsAge{1000};

  // Called on the reactor. `on_exit` comes once, after which every call fails.
  struct Handlers {
    std::function<void(messages::ConnectionEnded)> on_connection_ended = [](const auto&) {};
    std::function<void(WorkerState)> on_state_changed = [](auto) {};
    std::function<void(messages::LostPagesChanged)> on_lost_pages_changed = [](const auto&) {};
    // Empty: the worker needs the room.
    std::function<void(UniqueFd)> on_context_reserve = [](auto) {};
    std::function<void()> on_exit = [] {};
  };
  struct Answer {
    messages::Message message;  // Started, Done or Adopted
    std::vector<UniqueFd> fds;
  };

  // Listens to the worker behind `link` until it ends.
  static std::shared_ptr<WorkerProcess> watch(Machine& machine, std::shared_ptr<WorkerLink> link);
  // A worker that still runs is left running: it serves on until its connections end.
  ~WorkerProcess() = default;
  WorkerProcess(const WorkerProcess&) = delete;

  // In the place of those that were set before.
  void set_handlers(Handlers handlers) { handlers_ = std::move(handlers); }

  // Calls are made one after another. A Failed message comes back as an error, and so does the end
  // of the worker. A worker that does not answer within `timeout` is killed, so this is only for a
  // worker whose memory the supervisor holds, too.
  awaitable<Result<Answer>> call(messages::Request request, std::vector<int> fds,
                                 std::chrono::seconds timeout);
  // The same for a worker that may be the only holder of its memory: it is never killed. ETIMEDOUT:
  // it has not answered, and a later answer is dropped. ECONNRESET: it has closed the channel.
  awaitable<Result<Answer>> ask(messages::Request request, std::vector<int> fds,
                                std::chrono::seconds timeout);

  // Asks for the statistics, unless a request for them is under way; a call may be, too. No harm is
  // done if the worker does not answer.
  void request_stats();
  // Returns when the statistics are there, or kStatsLimit after they were requested.
  awaitable<void> await_stats();
  // If they are not older than kStatsAge.
  std::optional<control::IoStats> stats() const;

  // Asks for a sign of life, unless the worker owes one; a call may be under way.
  void ping();
  bool owes_sign_of_life() const { return is_pinged_; }
  // How many messages have come from it: each of them is a sign of life.
  std::uint64_t messages_heard() const { return messages_heard_; }
  // Whether a call() is under way that keeps the worker from answering anything else, for as long
  // as the driver or the allocation of memory takes. The time-out of that call is the limit.
  bool is_at_long_work() const { return !long_calls_.is_empty(); }

  // Where somebody has stopped it.
  void resume() {
    if (!has_ended_) link_->resume();
  }
  // Without regard to what it serves: the supervisor must hold the worker's memory.
  void kill();
  // Closes the channel and leaves the worker alone: it serves on and waits for a supervisor.
  void abandon();

  // Closes the channel, which tells the worker that it is not needed, and waits until it has ended.
  // It must not serve swap.
  awaitable<void> dismiss();

  bool is_running() const { return !has_ended_; }
  pid_t pid() const { return link_->pid(); }
  // The last one that the worker reported.
  WorkerState state() const { return state_; }
  Result<std::uint64_t> resident_bytes() const { return link_->resident_bytes(); }
  // "exit status 10", "killed by SIGKILL"; only "ended" if it was no child.
  std::string how_it_ended() const;

 private:
  WorkerProcess(Machine& machine, std::shared_ptr<WorkerLink> link);

  static awaitable<void> read_messages(std::shared_ptr<WorkerProcess> self);
  static awaitable<void> await_exit(std::shared_ptr<WorkerProcess> self);
  void receive(Packet packet);
  void take_answer(Result<Answer> answer);
  awaitable<Result<Answer>> exchange(messages::Request request, std::vector<int> fds,
                                     std::chrono::seconds timeout, bool may_kill);

  Machine& machine_;
  const std::shared_ptr<WorkerLink> link_;
  Handlers handlers_;
  WorkerState state_ = WorkerState::fresh;
  bool has_ended_ = false;
  bool has_hung_up_ = false;        // the channel is at its end, or cannot be read
  std::optional<int> exit_status_;  // of a child
  Gate calls_;
  Gate long_calls_;
  std::uint64_t messages_heard_ = 0;
  std::optional<Result<Answer>> answer_;
  unsigned late_answers_ = 0;  // that the worker owes to callers who have stopped waiting
  std::unique_ptr<Timer> answer_or_timeout_;  // cancelled when answer_ is set or the worker ends
  std::unique_ptr<Timer> exited_;             // cancelled when the worker ends
  bool is_pinged_ = false;
  bool stats_requested_ = false;
  std::unique_ptr<Timer> stats_or_timeout_;  // cancelled when they arrive or the worker ends
  std::optional<control::IoStats> stats_;
  Clock::TimePoint stats_came_at_;
};

}  // namespace vramswap
