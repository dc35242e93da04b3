#include "daemon/supervisor/service.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <limits>

#include "daemon/handover/messages.hpp"
#include "daemon/supervisor/pool/adopt.hpp"
#include "daemon/supervisor/spawn.hpp"
#include "daemon/system/log.hpp"

namespace vramswap {
namespace {

// This long after the daemon's start somebody should have said `up`.
constexpr std::chrono::seconds kIdleTimeout{30};
// Between two attempts to take the swap down: programs end and give memory back.
constexpr std::chrono::seconds kStopInterval{1};
// What a swapoff that gets on is given beyond systemd's limit; one that hangs gets nothing.
constexpr std::chrono::seconds kStopExtension{30};
// The status that users get is at most so old.
constexpr std::chrono::milliseconds kSharedStatusAge{200};
// A service manager that is busy takes in late what it is to keep.
constexpr unsigned kFdstoreLooks = 4;
constexpr std::chrono::seconds kFdstoreInterval{1};
// The supervisor and its workers keep each loan in locked memory.
constexpr std::size_t kMaxLoans = 64;

bool is_about_loans(const control::Request& request) {
  return std::holds_alternative<control::LendRequest>(request) ||
         std::holds_alternative<control::TakeBackRequest>(request);
}

}  // namespace

int handover_version() {
  return messages::kVersion;
}

Service::Service(Machine& machine, Successor& successor, Options options, Exit exit)
    : machine_(machine),
      successor_(successor),
      options_(std::move(options)),
      exit_(std::move(exit)),
      pool_(machine, options_.pool),
      collecting_(machine.io) {}

awaitable<Result<void>> Service::take_over(NamedFds inherited) {
  if (auto adopted = co_await pool_.adopt(std::move(inherited)); !adopted) co_return adopted;
  if (pool_.is_up()) spawn(machine_.io, compare_fdstore_after_recovery());
  co_return co_await disconnect_leftovers(machine_, options_.pool.device_prefix,
                                          pool_.identifier_prefix());
}

Result<void> Service::check_may(const control::Request& request, Session& session) const {
  if (session.is_root() || std::holds_alternative<control::StatusRequest>(request)) return {};
  if (!is_about_loans(request)) return fail("only root may change the swap: run it with sudo");
  const auto* lend = std::get_if<control::LendRequest>(&request);
  if (lend != nullptr && lend->is_held && has_nothing_to_lend()) return {};
  const auto* up = pool_.request();
  if (up != nullptr && up->lend_group && session.is_in_group(*up->lend_group)) return {};
  return fail(
      "only root and the members of lend-group may lend VRAM: run it with sudo, or see "
      "vramswap.conf(5)");
}

// No swap is on VRAM.
bool Service::has_nothing_to_lend() const {
  const auto* up = pool_.request();
  return up != nullptr ? up->backend == control::Backend::ram : !pool_.is_busy();
}

awaitable<void> Service::handle(control::Request request, std::shared_ptr<Session> session) {
  if (const auto allowed = check_may(request, *session); !allowed) {
    session->send(control::Failure{allowed.error().message});
    co_return;
  }
  Reply reply = control::Reply{control::Done{}};
  if (const auto* up = std::get_if<control::UpRequest>(&request)) {
    reply = co_await answer(*up, session);
  } else if (const auto* down = std::get_if<control::DownRequest>(&request)) {
    reply = co_await answer(*down, session);
  } else if (const auto* reload = std::get_if<control::ReloadRequest>(&request)) {
    reply = co_await answer(*reload, session);
  } else if (const auto* lend = std::get_if<control::LendRequest>(&request)) {
    reply = co_await answer(*lend, session);
  } else if (const auto* take_back = std::get_if<control::TakeBackRequest>(&request)) {
    reply = co_await answer(*take_back);
  } else {
    reply = co_await answer(control::StatusRequest{}, session);
  }
  const bool may_be_last = std::holds_alternative<control::UpRequest>(request) ||
                           std::holds_alternative<control::DownRequest>(request);
  if (may_be_last) shared_status_.reset();
  const bool is_last = may_be_last && !pool_.is_up() && !pool_.is_busy();
  // Before the reply: who reads it may start another daemon.
  if (is_last) exit_.refuse_clients();
  session->send(reply ? *reply : control::Failure{reply.error().message});
  co_await session->flush();
  if (is_last) end_if_nothing_is_up();
}

awaitable<Service::Reply> Service::answer(const control::UpRequest& up,
                                          std::shared_ptr<Session> session) {
  co_await machine_.service_manager.keep_init_out_of_swap();
  const auto result = co_await pool_.up(up);
  if (!result) {
    log_error(fmt::format("up: {}", result.error().message));
    co_return result.error();
  }
  if (options_.ends_with_client) {
    // Also if the client has gone by now.
    owner_ = session;
    session->watch([this] { spawn(machine_.io, stop()); });
  } else {
    co_await compare_fdstore();
  }
  co_return co_await status();
}

awaitable<Service::Reply> Service::answer(const control::DownRequest& down,
                                          std::shared_ptr<Session> session) {
  // Only the client of the `down` that swaps off ends it by going away.
  const bool is_first = !pool_.is_busy();
  if (is_first) session->watch([this] { pool_.cancel_down(); });
  // Named: GCC 12 destroys what such a temporary in a co_await expression holds once too often.
  const Pool::ProgressSink progress = [session](const control::Progress& now) {
    session->send(now);
  };
  const auto result = co_await pool_.down(down.force, progress);
  // Before the watch ends: that cancels what is still being written, too.
  co_await session->flush();
  if (is_first) session->stop_watching();
  if (!result) {
    log_error(fmt::format("down: {}", result.error().message));
    co_return result.error();
  }
  co_return control::Reply{control::Done{}};
}

// Root's is always collected anew: root may have changed something a moment ago, by this daemon or
// by swapoff(8), and reads the status to see what that did. A root who asks too often can do worse.
awaitable<Service::Reply> Service::answer(const control::StatusRequest&,
                                          std::shared_ptr<Session> session) {
  if (session->is_root()) co_return co_await status();
  co_return co_await shared_status();
}

// A held loan ends with the connection, whenever that is.
awaitable<Service::Reply> Service::answer(const control::LendRequest& lend,
                                          std::shared_ptr<Session> session) {
  // A command that asks for VRAM may have all that there is.
  if (lend.is_held && has_nothing_to_lend()) co_return control::Reply{control::Lent{}};
  if (pool_.loans().size() >= kMaxLoans) {
    co_return fail(fmt::format("there are {} loans: end one of them first", kMaxLoans));
  }
  const auto id = std::make_shared<std::uint64_t>(0);
  const auto has_gone = std::make_shared<bool>(false);
  if (lend.is_held) {
    session->watch([this, id, has_gone] {
      *has_gone = true;
      pool_.return_loan(*id);
    });
  }
  const Pool::ProgressSink progress = [session](const control::Progress& now) {
    session->send(now);
  };
  auto lent = co_await pool_.lend(lend, id, progress);
  if (*has_gone) pool_.return_loan(*id);
  if (!lent) co_return lent.error();
  co_return control::Reply{*std::move(lent)};
}

awaitable<Service::Reply> Service::answer(const control::TakeBackRequest&) {
  if (auto result = co_await pool_.take_back(); !result) co_return result.error();
  co_return control::Reply{control::Done{}};
}

// Answers only if it was refused: what answers otherwise is the new program.
awaitable<Service::Reply> Service::answer(const control::ReloadRequest&,
                                          std::shared_ptr<Session> session) {
  const auto refused = co_await reload(std::move(session));
  log_error(fmt::format("reload: refused: {}", refused.error().message));
  co_return fail(fmt::format("{}; the old program keeps running", refused.error().message));
}

// All that can be refused is refused before the new program begins: from then on there is no way
// back. No up or down begins meanwhile.
awaitable<Result<void>> Service::reload(std::shared_ptr<Session> session) {
  const auto operation = pool_.begin_reload();
  if (!operation) co_return operation.error();
  if (auto asked = co_await successor_.ask_to_take_over(handover_version()); !asked)
    co_return asked;
  // A worker may have died while the program was asked.
  if (auto whole = pool_.check_is_whole(); !whole) co_return whole;
  auto fds = pool_.handover_fds();
  if (!fds) co_return fds.error();
  (*fds)[kClientName] = session->duplicate();
  if (!(*fds)[kClientName]) co_return fail("there are no descriptors left for a new program");
  co_return successor_.become(*std::move(fds));
}

awaitable<void> Service::finish_reload(std::shared_ptr<Session> session) {
  const auto replaced = co_await pool_.replace_workers(successor_.path());
  if (replaced) {
    const auto now = co_await status();
    session->send(now ? *now : control::Failure{now.error().message});
  } else {
    log_error(fmt::format("reload: {}", replaced.error().message));
    session->send(control::Failure{
        fmt::format("the daemon was replaced, but not its worker: {}", replaced.error().message)});
  }
  co_await session->flush();
}

awaitable<Service::Reply> Service::status() const {
  co_await pool_.refresh_stats();
  auto segments = pool_.segments();
  if (!segments) co_return segments.error();
  co_return control::Status{.version = VRAMSWAP_VERSION,
                            .supervisor_pid = getpid(),
                            .segments = *std::move(segments),
                            .workers = pool_.workers(),
                            .notes = notes_,
                            .loans = pool_.loans(),
                            .lent_bytes = pool_.lent_bytes()};
}

// systemd drops what is above its limit, or what a security module keeps from it, and does not tell
// the sender. Returns whether it keeps all.
awaitable<bool> Service::compare_fdstore() {
  notes_.clear();
  std::size_t kept = 0;
  std::size_t needed = 0;
  for (unsigned look = 1;; ++look) {
    const auto counted = co_await machine_.service_manager.count_fdstore();
    auto memory = pool_.handover_fds();
    if (!counted || !memory || memory->empty()) co_return false;
    kept = *counted;
    needed = memory->size() + options_.fds_beside_pool;
    // While they are open, nobody gets VRAM that is lent meanwhile.
    memory->clear();
    if (kept == 0 || kept >= needed || look == kFdstoreLooks) break;
    co_await machine_.clock.sleep(kFdstoreInterval);
  }
  if (kept == 0) {
    notes_.push_back(
        "systemd keeps none of this daemon's memory: if supervisor and worker die at once, "
        "all pages are lost");
  } else if (kept < needed) {
    notes_.push_back(fmt::format(
        "systemd keeps {} descriptors, not {}: if supervisor and worker die at once, pages are "
        "lost. "
        "See journalctl -b _PID=1, FileDescriptorStoreMax= of vramswap.service, and the log of "
        "SELinux or AppArmor",
        kept, needed));
    log_error(notes_.back());
  }
  co_return kept >= needed;
}

// To count them the service manager's program is started. The memory for that is a worker's first.
awaitable<void> Service::compare_fdstore_after_recovery() {
  while (pool_.is_busy() || !pool_.is_held_by_workers()) {
    co_await machine_.clock.sleep(kFdstoreInterval);
  }
  if (pool_.is_up()) co_await compare_fdstore();
}

// One collection serves all users who ask while it is under way or within kSharedStatusAge after
// it: however often they ask, they cost the worker five round trips a second.
awaitable<Service::Reply> Service::shared_status() {
  const auto pass = co_await collecting_.enter_alone();
  if (!shared_status_ || machine_.clock.now() - shared_since_ >= kSharedStatusAge) {
    auto collected = co_await status();
    shared_status_ = std::move(collected);
    shared_since_ = machine_.clock.now();
  }
  co_return *shared_status_;
}

// While a worker is dead, and systemd lacks its memory, this daemon is the only one that has it.
awaitable<bool> Service::may_leave_swap_up() {
  if (!pool_.is_held_by_workers()) {
    const bool is_kept = co_await compare_fdstore();
    if (!is_kept) co_return false;
  }
  co_return !pool_.is_busy();
}

// See resume_every_second(), by which this process itself goes on.
awaitable<void> Service::keep_workers_running() {
  while (pool_.is_up() || pool_.is_busy()) {
    pool_.resume_workers();
    co_await machine_.clock.sleep(kStopInterval);
  }
}

awaitable<void> Service::stop() {
  machine_.service_manager.notify_stopping();
  spawn(machine_.io, keep_workers_running());
  // As after a crash: the worker serves on, and the next supervisor finds it.
  if (co_await machine_.service_manager.is_restarting()) {
    for (;;) {
      const bool may_end = co_await may_leave_swap_up();
      if (may_end) break;
      // A kill by the service manager would cost the pages.
      machine_.service_manager.extend_timeout(kStopExtension);
      co_await machine_.clock.sleep(kStopInterval);
    }
    log_info("restarting: the next vramswapd takes over the swap");
    exit_.refuse_clients();
    exit_.end();
    co_return;
  }
  auto least_left = std::numeric_limits<std::uint64_t>::max();
  // An attempt that fails puts back what it had done: only one that gets further than all before it
  // is given more time, so that there is an end to it.
  const Pool::ProgressSink extend_if_further = [&](const control::Progress& progress) {
    const std::uint64_t left = progress.total_bytes - progress.done_bytes;
    if (left < least_left) machine_.service_manager.extend_timeout(kStopExtension);
    least_left = std::min(least_left, left);
  };
  bool is_logged = false;
  while (pool_.is_up() || pool_.is_busy()) {
    const auto result = co_await pool_.down(false, extend_if_further);
    if (result) break;
    const std::string waiting = fmt::format("cannot stop yet: {}", result.error().message);
    pool_.show_note(waiting);
    if (!is_logged) log_error(waiting);
    is_logged = true;
    co_await machine_.clock.sleep(kStopInterval);
  }
  end_if_nothing_is_up();
}

awaitable<void> Service::end_if_never_used() {
  co_await machine_.clock.sleep(kIdleTimeout);
  end_if_nothing_is_up();
}

void Service::end_if_nothing_is_up() {
  if (pool_.is_up() || pool_.is_busy()) return;
  exit_.refuse_clients();
  exit_.end();
}

}  // namespace vramswap
