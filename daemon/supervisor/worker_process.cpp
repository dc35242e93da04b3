#include "daemon/supervisor/worker_process.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "daemon/control/daemon_arguments.hpp"
#include "daemon/handover/worker_socket.hpp"
#include "daemon/supervisor/child.hpp"
#include "daemon/system/log.hpp"

namespace vramswap {
namespace {

// The channel's number in the worker; what is above is closed by exec.
constexpr int kWorkerChannel = 3;
// To close what it has open; the driver takes its time over a context.
constexpr std::chrono::seconds kDismissTimeout{30};

[[noreturn]] void exec_worker(int channel) {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  // It may have to start on a machine without free memory: a realtime task allocates below the min
  // watermark. Its threads begin as ordinary ones; those for I/O ask for the same, and check.
  const sched_param priority{.sched_priority = 1};
  sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &priority);
  if (channel == kWorkerChannel) {
    fcntl(channel, F_SETFD, 0);
  } else {
    dup2(channel, kWorkerChannel);
  }
  // Asio's sockets are not close-on-exec: a worker that had the control socket would keep it open
  // after the supervisor's death, and clients would wait for an answer.
  close_range(kWorkerChannel + 1, ~0U, CLOSE_RANGE_CLOEXEC);
  execl("/proc/self/exe", kDaemonArgument0, "--worker", nullptr);
  _exit(127);
}

}  // namespace

Result<std::shared_ptr<WorkerProcess>> WorkerProcess::spawn(asio::io_context& io,
                                                            Handlers handlers) {
  auto channel = make_channel();
  if (!channel) return channel.error();
  auto& [ours, theirs] = *channel;
  fcntl(ours.get(), F_SETFL, O_NONBLOCK);
  const pid_t pid = fork();
  if (pid < 0) return fail_errno("worker", "fork", errno);
  if (pid == 0) exec_worker(theirs.get());
  auto pidfd = open_pidfd(pid);
  if (!pidfd) {
    ::kill(pid, SIGKILL);
    reap(pid);
    return pidfd.error();
  }
  return watch(std::shared_ptr<WorkerProcess>(new WorkerProcess(
                   io, pid, std::move(ours), *std::move(pidfd), std::move(handlers))),
               io);
}

Result<std::shared_ptr<WorkerProcess>> WorkerProcess::meet(asio::io_context& io,
                                                           const std::string& path,
                                                           Handlers handlers) {
  auto meeting = worker_socket::connect(path);
  if (!meeting) return meeting.error();
  fcntl(meeting->channel.get(), F_SETFL, O_NONBLOCK);
  // It listened a moment ago. Were the number another's by now, the channel would be at its end.
  auto pidfd = open_pidfd(meeting->worker);
  if (!pidfd) return pidfd.error();
  return watch(std::shared_ptr<WorkerProcess>(
                   new WorkerProcess(io, meeting->worker, std::move(meeting->channel),
                                     *std::move(pidfd), std::move(handlers))),
               io);
}

std::shared_ptr<WorkerProcess> WorkerProcess::watch(std::shared_ptr<WorkerProcess> worker,
                                                    asio::io_context& io) {
  asio::co_spawn(io, read_messages(worker), asio::detached);
  asio::co_spawn(io, await_exit(worker), asio::detached);
  return worker;
}

WorkerProcess::WorkerProcess(asio::io_context& io, pid_t pid, UniqueFd channel, UniqueFd pidfd,
                             Handlers handlers)
    : pid_(pid),
      channel_(std::make_unique<WatchedFd>(io, std::move(channel))),
      pidfd_(io, std::move(pidfd)),
      handlers_(std::move(handlers)),
      next_call_(io, asio::steady_timer::time_point::max()),
      answer_or_timeout_(io),
      exited_(io, asio::steady_timer::time_point::max()),
      stats_or_timeout_(io) {}

awaitable<void> WorkerProcess::read_messages(std::shared_ptr<WorkerProcess> self) {
  while (self->channel_) {
    if (co_await self->channel_->readable()) co_return;
    if (!self->channel_) co_return;
    auto packet = receive_packet(self->channel_->get());
    if (!packet && packet.error().code == EAGAIN) continue;
    // The end of the channel is the end of the worker, or soon will be: await_exit tells.
    if (!packet || !*packet) co_return;
    self->take(*std::move(*packet));
  }
}

void WorkerProcess::take(Packet packet) {
  auto message = messages::decode_message(packet.text);
  if (message && std::holds_alternative<messages::ConnectionEnded>(*message)) {
    handlers_.on_connection_ended(std::get<messages::ConnectionEnded>(*message));
    return;
  }
  if (message && std::holds_alternative<messages::StateChanged>(*message)) {
    state_ = std::get<messages::StateChanged>(*message).state;
    handlers_.on_state_changed(state_);
    return;
  }
  if (auto* stats = message ? std::get_if<messages::Stats>(&*message) : nullptr) {
    stats_ = stats->io;
    stats_came_at_ = std::chrono::steady_clock::now();
    stats_requested_ = false;
    stats_or_timeout_.cancel();
    return;
  }
  if (!message) {
    answer_ = std::unexpected(message.error());
  } else if (const auto* failed = std::get_if<messages::Failed>(&*message)) {
    answer_ = std::unexpected(Error{failed->message, failed->code});
  } else {
    if (const auto* adopted = std::get_if<messages::Adopted>(&*message)) state_ = adopted->state;
    answer_ = Answer{*std::move(message), std::move(packet.fds)};
  }
  answer_or_timeout_.cancel();
}

awaitable<void> WorkerProcess::await_exit(std::shared_ptr<WorkerProcess> self) {
  co_await self->pidfd_.readable();
  // Its last words: why it could not start, for one.
  while (self->channel_) {
    auto packet = receive_packet(self->channel_->get());
    if (!packet || !*packet) break;
    self->take(*std::move(*packet));
  }
  // It is a child of ours if we started it, or this program did before it was replaced by exec.
  if (int status = 0; waitpid(self->pid_, &status, WNOHANG) == self->pid_) {
    self->exit_status_ = status;
  }
  self->has_ended_ = true;
  self->answer_or_timeout_.cancel();
  self->exited_.cancel();
  self->stats_or_timeout_.cancel();
  if (self->channel_) self->channel_->cancel();
  self->handlers_.on_exit();
}

std::string WorkerProcess::how_it_ended() const {
  return exit_status_ ? describe_wait_status(*exit_status_) : "ended";
}

awaitable<Result<WorkerProcess::Answer>> WorkerProcess::call(messages::Request request,
                                                             std::vector<int> fds,
                                                             std::chrono::seconds timeout) {
  ErrorCode cancelled;
  while (is_calling_) co_await next_call_.async_wait(into(cancelled));
  is_calling_ = true;
  auto result = co_await exchange(messages::encode(request), std::move(fds), timeout);
  is_calling_ = false;
  next_call_.cancel_one();
  co_return result;
}

awaitable<Result<WorkerProcess::Answer>> WorkerProcess::exchange(std::string request,
                                                                 std::vector<int> fds,
                                                                 std::chrono::seconds timeout) {
  const auto ended = [this] { return fail(fmt::format("worker {}: {}", pid_, how_it_ended())); };
  if (has_ended_ || !channel_) co_return ended();  // without a channel it is dismissed
  answer_.reset();
  answer_or_timeout_.expires_after(timeout);
  if (auto sent = send_packet(channel_->get(), request, fds); !sent) {
    // It is ending; what it has to say may be in the channel already.
    const bool is_ending = sent.error().code == EPIPE || sent.error().code == ECONNRESET;
    if (!is_ending) co_return sent.error();
  }
  ErrorCode error;
  while (!answer_ && !has_ended_) {
    co_await answer_or_timeout_.async_wait(into(error));
    if (!error) {
      ::kill(pid_, SIGKILL);
      co_return fail(fmt::format("worker {}: no answer within {} s", pid_, timeout.count()));
    }
  }
  if (!answer_) co_return ended();
  co_return std::move(*answer_);
}

// One question at a time: a worker that stands still is not to find a full channel.
void WorkerProcess::request_stats() {
  if (stats_requested_ || has_ended_ || !channel_) return;
  const auto question = messages::encode(messages::Request{messages::ReportStats{}});
  if (!send_packet(channel_->get(), question)) return;
  stats_requested_ = true;
  stats_or_timeout_.expires_after(kStatsLimit);
}

awaitable<void> WorkerProcess::await_stats() {
  ErrorCode ignored;
  if (stats_requested_ && !has_ended_) co_await stats_or_timeout_.async_wait(into(ignored));
}

std::optional<control::IoStats> WorkerProcess::stats() const {
  const bool is_fresh = std::chrono::steady_clock::now() - stats_came_at_ <= kStatsAge;
  return stats_ && is_fresh ? stats_ : std::nullopt;
}

void WorkerProcess::kill() {
  if (!has_ended_) ::kill(pid_, SIGKILL);
}

awaitable<void> WorkerProcess::dismiss() {
  if (channel_) {
    channel_->cancel();
    channel_.reset();
  }
  ErrorCode error;
  exited_.expires_after(kDismissTimeout);
  while (!has_ended_) {
    co_await exited_.async_wait(into(error));
    if (!error) {
      log_error(fmt::format("worker {}: does not end; killed", pid_));
      ::kill(pid_, SIGKILL);
      exited_.expires_at(asio::steady_timer::time_point::max());
    }
  }
}

}  // namespace vramswap
