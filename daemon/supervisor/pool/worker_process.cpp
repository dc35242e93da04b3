#include "daemon/supervisor/pool/worker_process.hpp"

#include <fmt/format.h>

#include <cerrno>

#include "daemon/base/wait_status.hpp"
#include "daemon/supervisor/spawn.hpp"
#include "daemon/system/log.hpp"

namespace vramswap {
namespace {

// For the worker to close what it has open; the driver takes its time over a context.
constexpr std::chrono::seconds kDismissTimeout{30};
// Before the supervisor reads the channel again when it had no memory or no descriptors for that.
constexpr std::chrono::milliseconds kReadAgainAfter{50};

bool is_short_of_something(int code) {
  return code == EINTR || code == ENOBUFS || code == ENOMEM || code == EMFILE || code == ENFILE;
}

// Its answer may take as long as the driver needs for a context, or the kernel for memory.
bool may_take_long(const messages::Request& request) {
  return std::holds_alternative<messages::Start>(request) ||
         std::holds_alternative<messages::Create>(request) ||
         std::holds_alternative<messages::Import>(request) ||
         std::holds_alternative<messages::Remove>(request) ||
         std::holds_alternative<messages::PrepareMove>(request) ||
         std::holds_alternative<messages::FinishMove>(request) ||
         std::holds_alternative<messages::Replace>(request);
}

}  // namespace

std::shared_ptr<WorkerProcess> WorkerProcess::watch(Machine& machine,
                                                    std::shared_ptr<WorkerLink> link) {
  std::shared_ptr<WorkerProcess> worker(new WorkerProcess(machine, std::move(link)));
  spawn(machine.io, read_messages(worker));
  spawn(machine.io, await_exit(worker));
  return worker;
}

WorkerProcess::WorkerProcess(Machine& machine, std::shared_ptr<WorkerLink> link)
    : machine_(machine),
      link_(std::move(link)),
      calls_(machine.io),
      long_calls_(machine.io),
      answer_or_timeout_(machine.clock.make_timer()),
      exited_(machine.clock.make_timer()),
      stats_or_timeout_(machine.clock.make_timer()) {}

awaitable<void> WorkerProcess::read_messages(std::shared_ptr<WorkerProcess> self) {
  for (;;) {
    auto packet = co_await self->link_->receive();
    // One that cannot be taken has come all the same.
    if (!packet || *packet) ++self->messages_heard_;
    if (packet && *packet) {
      self->receive(*std::move(*packet));
    } else if (!packet && packet.error().code == EMSGSIZE) {
      self->take_answer(packet.error());
    } else if (!packet && is_short_of_something(packet.error().code)) {
      co_await self->machine_.clock.sleep(kReadAgainAfter);
    } else {
      if (!packet) log_error(packet.error().message);
      break;
    }
  }
  // The end of the worker, or soon it will be: await_exit tells.
  self->has_hung_up_ = true;
  self->answer_or_timeout_->cancel();
}

void WorkerProcess::receive(Packet packet) {
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
  if (message && std::holds_alternative<messages::LostPagesChanged>(*message)) {
    handlers_.on_lost_pages_changed(std::get<messages::LostPagesChanged>(*message));
    return;
  }
  if (message && std::holds_alternative<messages::ContextReserve>(*message)) {
    // Nobody keeps it then, and the worker has it.
    if (packet.lacks_fds) return;
    handlers_.on_context_reserve(packet.fds.empty() ? UniqueFd() : std::move(packet.fds.front()));
    return;
  }
  if (message && std::holds_alternative<messages::Alive>(*message)) {
    is_pinged_ = false;
    return;
  }
  if (auto* stats = message ? std::get_if<messages::Stats>(&*message) : nullptr) {
    stats_ = stats->io;
    stats_came_at_ = machine_.clock.now();
    stats_requested_ = false;
    stats_or_timeout_->cancel();
    return;
  }
  if (!message) {
    take_answer(message.error());
  } else if (packet.lacks_fds) {
    take_answer(lacks_fds_error());
  } else if (const auto* failed = std::get_if<messages::Failed>(&*message)) {
    take_answer(Error{failed->message, failed->code});
  } else {
    if (const auto* adopted = std::get_if<messages::Adopted>(&*message)) state_ = adopted->state;
    take_answer(Answer{*std::move(message), std::move(packet.fds)});
  }
}

// The worker answers in the order of the requests.
void WorkerProcess::take_answer(Result<Answer> answer) {
  if (late_answers_ > 0) {
    --late_answers_;
    return;
  }
  answer_ = std::move(answer);
  answer_or_timeout_->cancel();
}

awaitable<void> WorkerProcess::await_exit(std::shared_ptr<WorkerProcess> self) {
  self->exit_status_ = co_await self->link_->wait_for_exit();
  // What it sent last may say why it could not start.
  for (;;) {
    auto packet = self->link_->receive_now();
    if (!packet || !*packet) break;
    self->receive(*std::move(*packet));
  }
  self->has_ended_ = true;
  self->answer_or_timeout_->cancel();
  self->exited_->cancel();
  self->stats_or_timeout_->cancel();
  self->link_->close();
  self->handlers_.on_exit();
}

std::string WorkerProcess::how_it_ended() const {
  return exit_status_ ? describe_wait_status(*exit_status_) : "ended";
}

awaitable<Result<WorkerProcess::Answer>> WorkerProcess::call(messages::Request request,
                                                             std::vector<int> fds,
                                                             std::chrono::seconds timeout) {
  return exchange(std::move(request), std::move(fds), timeout, true);
}

awaitable<Result<WorkerProcess::Answer>> WorkerProcess::ask(messages::Request request,
                                                            std::vector<int> fds,
                                                            std::chrono::seconds timeout) {
  return exchange(std::move(request), std::move(fds), timeout, false);
}

awaitable<Result<WorkerProcess::Answer>> WorkerProcess::exchange(messages::Request request,
                                                                 std::vector<int> fds,
                                                                 std::chrono::seconds timeout,
                                                                 bool may_kill) {
  const auto pass = co_await calls_.enter_alone();
  const auto long_call = may_kill && may_take_long(request) ? long_calls_.enter() : std::nullopt;
  const auto ended = [this] { return fail(fmt::format("worker {}: {}", pid(), how_it_ended())); };
  if (has_ended_ || !link_->is_open()) co_return ended();  // without a channel it is dismissed
  answer_.reset();
  answer_or_timeout_->expires_after(timeout);
  if (auto sent = link_->send(messages::encode(request), fds); !sent) {
    // The worker is ending; its last message may be in the channel already.
    const bool is_ending = sent.error().code == EPIPE || sent.error().code == ECONNRESET;
    if (!is_ending) co_return sent.error();
  }
  while (!answer_ && !has_ended_) {
    if (has_hung_up_ && !may_kill) {
      co_return Error{fmt::format("worker {}: has closed its channel", pid()), ECONNRESET};
    }
    const bool is_late = co_await answer_or_timeout_->wait();
    if (!is_late || answer_) continue;
    if (may_kill) {
      link_->kill();
    } else {
      ++late_answers_;
    }
    co_return Error{fmt::format("worker {}: no answer within {} s", pid(), timeout.count()),
                    ETIMEDOUT};
  }
  if (!answer_) co_return ended();
  co_return std::move(*answer_);
}

// One at a time of these and of the next, so that a worker that stands still does not find a full
// channel.
void WorkerProcess::ping() {
  if (is_pinged_ || has_ended_ || !link_->is_open()) return;
  is_pinged_ = link_->send(messages::encode(messages::Request{messages::Ping{}}), {}).has_value();
}

void WorkerProcess::request_stats() {
  if (stats_requested_ || has_ended_ || !link_->is_open()) return;
  const auto request = messages::encode(messages::Request{messages::ReportStats{}});
  if (!link_->send(request, {})) return;
  stats_requested_ = true;
  stats_or_timeout_->expires_after(kStatsLimit);
}

awaitable<void> WorkerProcess::await_stats() {
  if (stats_requested_ && !has_ended_) co_await stats_or_timeout_->wait();
}

std::optional<control::IoStats> WorkerProcess::stats() const {
  const bool is_fresh = machine_.clock.now() - stats_came_at_ <= kStatsAge;
  return stats_ && is_fresh ? stats_ : std::nullopt;
}

void WorkerProcess::kill() {
  if (!has_ended_) link_->kill();
}

void WorkerProcess::abandon() {
  handlers_ = {};
  link_->close();
}

awaitable<void> WorkerProcess::dismiss() {
  link_->close();
  exited_->expires_after(kDismissTimeout);
  while (!has_ended_) {
    const bool is_late = co_await exited_->wait();
    if (!is_late) continue;
    log_error(fmt::format("worker {}: does not end; killed", pid()));
    link_->kill();
    exited_->expires_never();
  }
}

}  // namespace vramswap
