#include "daemon/supervisor/pool/worker_slot.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "daemon/handover/copy_notes.hpp"
#include "daemon/supervisor/pool/segment.hpp"
#include "daemon/supervisor/spawn.hpp"
#include "daemon/system/log.hpp"

namespace vramswap {
namespace {

// A CUDA context takes 0.3 s; on a card that sleeps, with a cold driver, many times that.
constexpr std::chrono::seconds kStartTimeout{60};
constexpr std::chrono::seconds kReplaceTimeout{60};
// A worker that dies as it starts is started again after a pause that doubles up to this.
constexpr std::chrono::milliseconds kFirstBackoff{100};
constexpr std::chrono::milliseconds kLongestBackoff{10000};

}  // namespace

WorkerSlot::WorkerSlot(Machine& machine, RecoveryReserve& reserve, StatePublisher& publisher,
                       std::size_t index, PoolDescription::Device known)
    : machine_(machine),
      reserve_(reserve),
      publisher_(publisher),
      index_(index),
      known_(std::move(known)),
      driver_(machine.service_manager, index, known_.start),
      context_reserve_(machine.service_manager, index),
      recoveries_(machine.io),
      recovering_(machine.io) {
  spawn(machine.io, compare_connections(machine, self_));
  spawn(machine.io, watch_for_silence(machine, self_));
}

WorkerSlot::~WorkerSlot() {
  if (worker_) worker_->set_handlers({});
}

void WorkerSlot::watch_worker(std::shared_ptr<WorkerProcess> worker) {
  if (worker_) worker_->set_handlers({});
  worker_ = std::move(worker);
  silent_looks_ = 0;
  worker_->set_handlers({.on_connection_ended =
                             [this](const messages::ConnectionEnded& ended) {
                               for (Segment* segment : segments_) {
                                 if (segment->id() == ended.segment)
                                   segment->on_connection_ended(ended);
                               }
                             },
                         .on_state_changed = [this](WorkerState state) { on_state_changed(state); },
                         .on_lost_pages_changed =
                             [this](const messages::LostPagesChanged& changed) {
                               for (Segment* segment : segments_) {
                                 if (segment->id() == changed.segment) segment->update_lost_pages();
                               }
                             },
                         .on_context_reserve =
                             [this](UniqueFd memory) {
                               if (!is_dismissed_) context_reserve_.keep(std::move(memory));
                               if (context_reserve_.is_there()) note_use_of_card();
                             },
                         .on_exit = [this] { on_exit(); }});
}

awaitable<Result<void>> WorkerSlot::start() {
  auto link = machine_.launcher.spawn();
  if (!link) co_return link.error();
  watch_worker(WorkerProcess::watch(machine_, *std::move(link)));
  messages::Start start = known_.start;
  if (!start.rendezvous.empty()) start.rendezvous = new_socket();
  std::vector<int> files;
  driver_.add_to(start, files);
  add_copy_notes_to(start, files);
  context_reserve_.add_to(start, files);
  auto answer = co_await worker_->call(start, std::move(files), kStartTimeout);
  if (!answer) driver_.note_failed_start();
  if (!answer) co_return answer.error();
  const auto* started = std::get_if<messages::Started>(&answer->message);
  if (started == nullptr) co_return fail("worker: an unexpected answer to its start");
  if (!start.leaves_card) {
    known_.info = started->device;
    known_.start.context_bytes = known_.info.context_bytes;
  }
  const auto resident = worker_->resident_bytes();
  if (!resident) co_return resident.error();
  known_.worker_bytes = *resident;
  co_await driver_.learn_from(worker_);
  co_return Result<void>{};
}

// Made for the first worker, while there is memory. It works without them, too.
void WorkerSlot::add_copy_notes_to(messages::Start& start, std::vector<int>& fds) {
  if (!copy_notes_) {
    auto made = CopyNotes::create(known_.start.io_threads, publisher_.memory());
    if (!made) return log_error(made.error().message);
    copy_notes_ = *std::move(made);
  }
  start.has_copy_notes = true;
  fds.push_back(copy_notes_.get());
}

// A path of its own for each worker. One that a dead supervisor has started may come late: it would
// take the path away from the worker that serves, and no supervisor would find that one any more.
std::string WorkerSlot::new_socket() const {
  return fmt::format("{}-{:x}", known_.start.rendezvous,
                     machine_.clock.now().time_since_epoch().count());
}

void WorkerSlot::remove_sockets() const {
  const auto& prefix = known_.start.rendezvous;
  const std::string directory = prefix.substr(0, prefix.rfind('/'));
  for (const std::string& socket : machine_.launcher.find_sockets(directory)) {
    if (socket.starts_with(prefix + '-')) machine_.launcher.remove_socket(socket);
  }
}

void WorkerSlot::adopt(std::shared_ptr<WorkerProcess> worker, UniqueFd copy_notes,
                       UniqueFd context_reserve) {
  copy_notes_ = std::move(copy_notes);
  context_reserve_.keep(std::move(context_reserve));
  watch_worker(std::move(worker));
}

// A worker that runs knows better: it may have given the reserve up while nobody listened. Where
// there is one, the card was not left after all: the description is older.
void WorkerSlot::inherit(const NamedFds& inherited) {
  driver_.inherit(inherited);
  if (!is_running()) context_reserve_.inherit(inherited);
  if (context_reserve_.is_there()) {
    note_use_of_card();
  } else if (is_running()) {
    context_reserve_.give_up();
  }
}

void WorkerSlot::add_to(NamedFds& fds) const {
  driver_.add_to(fds);
  context_reserve_.add_to(fds);
}

awaitable<Result<WorkerProcess::Answer>> WorkerSlot::call(messages::Request request,
                                                          std::vector<int> fds,
                                                          std::chrono::seconds timeout) {
  // Of its own: the slot may get another worker meanwhile.
  const auto worker = worker_;
  if (!worker) co_return fail(fmt::format("{}: there is no worker", known_.info.name));
  co_return co_await worker->call(std::move(request), std::move(fds), timeout);
}

awaitable<Result<WorkerProcess::Answer>> WorkerSlot::ask(messages::Request request,
                                                         std::vector<int> fds,
                                                         std::chrono::seconds timeout) {
  const auto worker = worker_;
  if (!worker) co_return fail(fmt::format("{}: there is no worker", known_.info.name));
  co_return co_await worker->ask(std::move(request), std::move(fds), timeout);
}

void WorkerSlot::on_state_changed(WorkerState state) {
  if (is_dismissed_) return;
  waking_.reset();
  // A context takes memory, and the machine may have none.
  if (state == WorkerState::waking) waking_ = reserve_.begin_start();
  if (state == WorkerState::serving && recovering_.is_empty()) reserve_.refill();
  publisher_.show();
}

void WorkerSlot::on_exit() {
  waking_.reset();
  if (is_dismissed_) return;
  log_error(
      fmt::format("worker {} of {}: {}", worker_->pid(), known_.info.name, worker_->how_it_ended()),
      log_fields(message_ids::kWorkerDied));
  lose_worker();
}

void WorkerSlot::lose_worker() {
  for (Segment* segment : segments_) segment->on_worker_lost();
  if (is_needed() && recovering_.is_empty()) begin_recovery();
}

bool WorkerSlot::is_needed() const {
  return std::ranges::any_of(segments_, [](const Segment* segment) { return segment->has_nbd(); });
}

void WorkerSlot::begin_recovery() {
  died_at_ = machine_.clock.now();
  // Both from now on, and not only when the coroutine runs.
  spawn(machine_.io, recover(*recoveries_.enter(), *recovering_.enter()));
}

awaitable<void> WorkerSlot::recover([[maybe_unused]] Gate::Pass pass, Gate::Pass recovering) {
  auto recovery = reserve_.begin_recovery();
  for (auto backoff = kFirstBackoff; is_needed();
       backoff = std::min(backoff * 2, kLongestBackoff)) {
    const auto result = co_await try_recover();
    if (result) {
      ++known_.restarts;
      problem_.clear();
      last_pause_ =
          std::chrono::duration_cast<std::chrono::milliseconds>(machine_.clock.now() - died_at_);
      const std::string problem = connection_problem();
      LogFields fields = log_fields(message_ids::kWorkerReplaced);
      fields.pause_ms = last_pause_.count();
      log_info(fmt::format("worker {} of {}: {} after {} ms{}", worker_->pid(), known_.info.name,
                           problem.empty() ? "serves again" : "has its memory again",
                           last_pause_.count(), problem.empty() ? "" : "; " + problem),
               fields);
      break;
    }
    problem_ = result.error().message;
    log_error(fmt::format("{}; trying again in {} ms. The swapped pages are kept. Remove the "
                          "cause, and programs that wait for one continue",
                          problem_, backoff.count()),
              log_fields(message_ids::kRecoveryFailed));
    publisher_.show();
    co_await machine_.clock.sleep(backoff);
  }
  recovering.leave();
  recovery.leave();
  reserve_.refill();
  for (Segment* segment : segments_) segment->update_lost_pages();
  publisher_.show();
  if (problem_.empty()) co_await publisher_.publish();
}

awaitable<Result<void>> WorkerSlot::try_recover() {
  const auto segments = enter_segments();
  auto start = reserve_.begin_start();
  auto result = co_await restart(segments);
  start.leave();
  if (result) result = co_await reconnect(segments);
  if (!result && worker_) {
    // Half a recovery is none: the next one starts from a dead worker again.
    worker_->kill();
    co_await worker_->dismiss();
  }
  co_return result;
}

// Those that are there. They stay until the passes are gone; a segment that is being removed lets
// nobody enter.
WorkerSlot::EnteredSegments WorkerSlot::enter_segments() const {
  EnteredSegments segments;
  for (Segment* segment : segments_) {
    if (segment->state() == SegmentState::planned) continue;
    if (auto pass = segment->enter()) segments.emplace_back(segment, *std::move(pass));
  }
  return segments;
}

// A new worker over the same memory. The old one is dead, so nothing that it was doing can come
// after what this one does.
awaitable<Result<void>> WorkerSlot::restart(const EnteredSegments& segments) {
  for (const auto& [segment, pass] : segments) segment->on_worker_lost();
  auto result = co_await start();
  if (result) result = co_await publisher_.tell(*worker_);
  if (!result) {
    for (const auto& [segment, pass] : segments) segment->forget_stale_imports();
    co_return result;
  }
  for (const auto& [segment, pass] : segments) {
    const auto restored = co_await segment->restore_store();
    if (result) result = restored;
  }
  co_return result;
}

// Sockets that the kernel does not take yet are no reason to start over.
awaitable<Result<void>> WorkerSlot::reconnect(const EnteredSegments& segments) {
  for (const auto& [segment, pass] : segments) {
    const auto restored = co_await segment->restore_connections();
    if (!restored) log_error(restored.error().message);
  }
  // It may have died since its last answer. Then this is not over.
  if (!is_running()) co_return fail(fmt::format("worker {}: died again", worker_->pid()));
  co_return Result<void>{};
}

awaitable<void> WorkerSlot::finish_setup() {
  const auto worker = worker_;
  co_await driver_.learn_from(worker);
  if (worker_ != worker || !is_serving()) co_return;
  const auto segments = enter_segments();
  for (const auto& [segment, pass] : segments) {
    const auto stored = co_await segment->finish_store();
    // One that follows a dead one is given everything.
    if (worker_ != worker || !is_serving()) co_return;
    if (!stored) {
      log_error(stored.error().message);
      worker->kill();
      co_return;
    }
    const auto connected = co_await segment->restore_connections();
    if (!connected) log_error(connected.error().message);
    if (worker_ != worker || !is_serving()) co_return;
  }
}

awaitable<Result<void>> WorkerSlot::ensure_worker() {
  const auto pass = co_await recoveries_.enter_alone();
  if (is_running()) co_return Result<void>{};
  // Should it die on the way, no recovery begins beside this one.
  auto recovering = *recovering_.enter();
  auto result = co_await try_recover();
  recovering.leave();
  if (!is_running() && is_needed()) begin_recovery();
  publisher_.show();
  co_return result;
}

awaitable<Result<void>> WorkerSlot::replace_program(std::string program) {
  if (!is_serving()) {
    co_return fail(fmt::format("the worker of {} is being replaced already", known_.info.name));
  }
  const messages::Replace replace{.program = std::move(program)};
  const auto answer = co_await call(replace, {}, kReplaceTimeout);
  if (!answer) co_return answer.error();
  co_return Result<void>{};
}

awaitable<Result<void>> WorkerSlot::leave_card() {
  // The context of a dead worker has gone, and the next one makes none.
  if (!is_running() && !is_needed() && recovering_.is_empty()) {
    context_reserve_.give_up();
    known_.start.leaves_card = true;
    co_return Result<void>{};
  }
  if (!is_serving()) co_return fail(fmt::format("no worker serves {} now", known_.info.name));
  const messages::Replace replace{.program = "", .leaves_card = true};
  const auto answer = co_await call(replace, {}, kReplaceTimeout);
  if (!answer) co_return answer.error();
  known_.start.leaves_card = true;
  co_return Result<void>{};
}

awaitable<void> WorkerSlot::dismiss() {
  co_await recoveries_.wait_until_empty();
  is_dismissed_ = true;
  if (worker_) co_await worker_->dismiss();
  remove_sockets();
  driver_.withdraw();
  context_reserve_.give_up();
}

}  // namespace vramswap
