#include "daemon/worker/process/control_thread.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <ranges>
#include <utility>

#include "daemon/handover/worker_socket.hpp"
#include "daemon/system/log.hpp"
#include "daemon/system/own_program.hpp"

namespace vramswap {
namespace {

using messages::ConnectionEnded;
using messages::ContextReserve;
using messages::Done;
using messages::LostPagesChanged;
using messages::Message;
using messages::StateChanged;

using Clock = Engine::Clock;

// How often a serving worker checks whether a copy hangs, whether it is idle, and whether more
// pages are lost.
constexpr std::chrono::milliseconds kTick{1000};
constexpr std::chrono::seconds kReserveInterval{10};
constexpr std::chrono::milliseconds kShortCopy{100};
// How long an idle worker may take to pause: every connection is at a message boundary already.
constexpr std::chrono::milliseconds kIdlePauseLimit{100};

}  // namespace

ControlThread::ControlThread(WorkerHandover handover, WorkerOptions options)
    : options_(std::move(options)),
      state_(handover.state),
      owes_answer_(handover.owes_answer),
      start_(std::move(handover.start)),
      description_(std::move(handover.description)),
      began_at_(handover.began_at),
      earlier_stats_(handover.stats),
      driver_(std::move(handover.driver)),
      room_{.context_bytes = start_.context_bytes, .reserve = std::move(handover.context_reserve)},
      channel_(std::move(handover.channel)),
      listener_(std::move(handover.listener)),
      copy_notes_fd_(std::move(handover.copy_notes)),
      segments_(std::move(handover.segments)) {}

Result<void> ControlThread::run() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return fail_errno("worker", "pipe2", errno);
  report_read_ = UniqueFd(ends[0]);
  report_write_ = UniqueFd(ends[1]);
  room_.on_given_up = [this] {
    tell(ContextReserve{});
    // Other processes have to close the reserve first.
    next_reserve_at_ = Clock::now() + kTick;
  };
  if (state_ != WorkerState::fresh) tell(StateChanged{state_});
  if (state_ == WorkerState::waking) {
    if (auto result = wake(); !result) return result;
  }
  while (channel_ || may_be_needed()) {
    if (auto result = wait(); !result) return result;
  }
  if (listener_) unlink(start_.rendezvous.c_str());
  // The supervisor may have died between disconnecting a device and scrubbing its store.
  return segments_.scrub_disconnected();
}

// One turn: waits for a report, a packet or a request that ends a doze, and handles it.
Result<void> ControlThread::wait() {
  // Without a supervisor the worker keeps serving and waits for the next supervisor.
  const bool had_channel = static_cast<bool>(channel_);
  const int caller = had_channel ? channel_.get() : listener_.get();
  std::vector<pollfd> waits{{report_read_.get(), POLLIN, 0}, {caller, POLLIN, 0}};
  for (const auto& [id, entry] : segments_) {
    for (const auto& parked : entry.parked) waits.push_back({parked.socket.get(), POLLIN, 0});
  }
  const int timeout = engine_ ? static_cast<int>(kTick.count()) : -1;
  if (poll(waits.data(), waits.size(), timeout) < 0 && errno != EINTR) {
    return fail_errno("worker", "poll", errno);
  }
  if (std::ranges::any_of(waits | std::views::drop(2), &pollfd::revents)) return wake();
  if (waits[0].revents != 0) {
    if (auto result = handle_report(); !result) return result;
  }
  const bool calls = waits[1].revents != 0;
  if (calls && !had_channel) {
    channel_ = worker_socket::accept(listener_.get());
    owes_copy_notes_ = true;
    tell_of_context_reserve();
  } else if (calls && channel_) {  // handle_report() closes it if the supervisor cannot be told
    if (auto result = handle_packet(); !result) return result;
  }
  if (engine_) tick();
  return {};
}

// For a worker without a supervisor: whether the kernel uses one of its segments, or may use it
// again once another supervisor has come.
bool ControlThread::may_be_needed() const {
  return std::ranges::any_of(segments_, [this](const auto& known) {
    const SegmentEntry& entry = known.second;
    return !entry.connected.empty() || (entry.awaits_reconnect && listener_);
  });
}

void ControlThread::enter(WorkerEvent event) {
  if (const auto next = next_state(state_, event)) state_ = *next;
  tell(StateChanged{state_});
}

// Closes the channel if the message cannot be sent: no supervisor is better than one that misses
// messages.
void ControlThread::tell(const Message& message, const std::vector<UniqueFd>& fds) {
  if (!channel_) return;
  std::vector<int> numbers;
  for (const UniqueFd& fd : fds) numbers.push_back(fd.get());
  const auto sent = send_packet(channel_.get(), encode(message), numbers);
  if (sent) return;
  log_error(sent.error().message);
  channel_.reset();
}

Result<void> ControlThread::handle_report() {
  IoReport report;
  if (read(report_read_.get(), &report, sizeof report) != sizeof report) {
    return fail_errno("worker", "read report", errno);
  }
  if (report.kind == IoReport::Kind::lost_pages_changed) {
    tell(LostPagesChanged{report.segment_id});
    return {};
  }
  segments_.note_end(report);
  tell(ConnectionEnded{report.segment_id, report.connection_id, report.end});
  return {};
}

Result<std::unique_ptr<Engine>> ControlThread::make_engine(bool has_card) {
  auto engine = Engine::start(start_, driver_, room_, report_write_.get(), options_.hardened,
                              copy_notes_ ? &*copy_notes_ : nullptr, has_card);
  // The next worker has more room.
  if (!engine && room_.is_tight) room_.give_up();
  return engine;
}

Result<void> ControlThread::start_engine(bool has_card) {
  auto engine = make_engine(has_card);
  if (!engine) return engine.error();
  engine_ = *std::move(engine);
  return {};
}

// Starts the engine again, over the descriptors that the worker holds. Does nothing while the
// worker serves or is fresh.
Result<void> ControlThread::wake() {
  if (engine_ || state_ == WorkerState::fresh) return {};
  if (state_ == WorkerState::dozing) enter(WorkerEvent::called);
  map_copy_notes();
  if (auto started = start_engine(needs_card()); !started) return started;
  if (auto result = segments_.reimport_stores(*engine_); !result) return result;
  if (auto served = serve_parked(); !served) return served;
  enter(WorkerEvent::woken);
  if (std::exchange(owes_answer_, false)) tell(Done{});
  return {};
}

// The engine has just started.
Result<void> ControlThread::serve_parked() {
  for (auto& [id, entry] : segments_) {
    note_store(entry.segment);
    for (auto& parked : std::exchange(entry.parked, {})) {
      auto served =
          engine_->serve(entry.segment, {parked.id, parked.thread}, std::move(parked.socket));
      if (!served) return served;
    }
  }
  served_ = 0;
  last_request_ = Clock::now();
  return {};
}

// An engine that has no context is replaced by one that has, if the card has room for it. The old
// one serves while the context is made.
Result<void> ControlThread::ensure_card() {
  if (!engine_) return fail("not started");
  if (engine_->has_card() || start_.backend == control::Backend::ram) return {};
  auto next = make_engine(true);
  if (!next) return next.error();
  if (auto paused = pause_engine(kLoadedPauseLimit); !paused) return paused;
  if (auto parked = park_connections(); !parked) {
    for (auto& [id, entry] : segments_) entry.parked.clear();
    (void)engine_->resume();
    return parked;
  }
  earlier_stats_.add(engine_->stats());
  engine_ = *std::move(next);
  for (auto& [id, entry] : segments_) entry.segment.open_connections = 0;
  start_.leaves_card = false;
  auto served = serve_parked();
  // Then the worker ends.
  if (!served) engine_.reset();
  return served;
}

Result<void> ControlThread::pause_engine(std::chrono::milliseconds limit) {
  const auto paused = engine_->pause(limit);
  if (!paused) return paused.error();
  if (*paused) return {};
  return fail(fmt::format("connections still busy after {} ms", limit.count()));
}

// Copies of the sockets, which the I/O threads close when they end.
Result<void> ControlThread::park_connections() {
  for (const ParkedConnection& parked : engine_->connections()) {
    const auto entry = segments_.find(parked.segment_id);
    if (!entry) return entry.error();
    UniqueFd socket(fcntl(parked.socket, F_DUPFD_CLOEXEC, 0));
    if (!socket) return fail_errno("worker", "F_DUPFD_CLOEXEC", errno);
    const unsigned thread = (*entry)->connected.at(parked.connection_id);
    (*entry)->parked.push_back({parked.connection_id, thread, std::move(socket)});
  }
  return {};
}

void ControlThread::tick() {
  end_if_hung();
  for (auto& [id, entry] : segments_) {
    if (entry.segment.has_news.exchange(false)) tell(LostPagesChanged{id});
  }
  const auto now = Clock::now();
  if (engine_->has_card()) set_context_room_aside();
  if (const auto served = engine_->requests_served(); served != served_) {
    served_ = served;
    last_request_ = now;
  }
  if (start_.doze_after.count() == 0 || now - last_request_ < start_.doze_after) return;
  if (segments_.empty() || !may_come_back() || start_.leaves_card) return;
  for (auto& [id, entry] : segments_) entry.next.reset();
  const auto own = own_program();
  const Error error =
      own ? replace_process(*own, WorkerEvent::went_idle, kIdlePauseLimit) : own.error();
  log_error(error.message);
  last_request_ = now;
}

// The kernel resends the requests that this worker has received to the next one.
void ControlThread::end_if_hung() {
  const auto since = engine_->copy_started_at();
  if (!since || Clock::now() - *since < start_.hang_timeout) return;
  log_error(fmt::format("a copy did not end within {} s: the worker exits, and another one follows",
                        start_.hang_timeout.count()));
  if (copy_notes_) copy_notes_->note_failure();
  std::_Exit(kExitStoreHung);
}

// The worker can serve without them, but a page that kills it would kill the next worker, too.
void ControlThread::map_copy_notes() {
  if (!copy_notes_fd_ || copy_notes_) return;
  auto notes = CopyNotes::map(copy_notes_fd_.get(), start_.io_threads);
  if (notes) {
    copy_notes_ = *std::move(notes);
  } else {
    log_error(notes.error().message);
  }
}

// Sets VRAM aside for the next context, which a full card would refuse.
void ControlThread::set_context_room_aside() {
  const auto now = Clock::now();
  if (may_come_back() || now < next_reserve_at_) return;
  // This thread ends the worker if a copy hangs, so it must not wait for such a card itself.
  const auto since = engine_->copy_started_at();
  if (since && now - *since > kShortCopy) return;
  next_reserve_at_ = now + kReserveInterval;
  // If a little room is missing, as on a card that was full before, the reserve goes without part
  // of its margin.
  Result<UniqueFd> reserve;
  for (std::uint64_t less : {0, 8, 16, 24}) {
    if ((less <<= 20) > room_.context_bytes) break;
    reserve = engine_->device().set_aside(room_.context_bytes - less);
    if (reserve) break;
  }
  if (reserve) {
    room_.reserve = *std::move(reserve);
    lacks_room_ = false;
    tell_of_context_reserve();
  } else if (!std::exchange(lacks_room_, true)) {
    log_info("the card has no room for another context: " + reserve.error().message,
             {.message_id = message_ids::kNoContextRoom, .worker = getpid()});
  }
}

void ControlThread::tell_of_context_reserve() {
  if (!channel_ || !room_.reserve) return;
  std::vector<UniqueFd> fds;
  fds.push_back(room_.reserve.duplicate());
  if (fds.front()) tell(ContextReserve{}, fds);
}

void ControlThread::note_store(const ServedSegment& segment) {
  if (!copy_notes_) return;
  copy_notes_->set_store(segment.id, segment.store->address(), segment.store->size_bytes());
}

// Since the process began, including the programs that it ran before this one.
control::IoStats ControlThread::stats() const {
  control::IoStats sum = earlier_stats_;
  if (engine_) sum.add(engine_->stats());
  sum.counted_for = Clock::now().time_since_epoch() - began_at_;
  return sum;
}

// The handover for the next program. The engine must be paused; its sockets are lent.
WorkerHandover ControlThread::lend_handover(WorkerState state) {
  return {.state = state,
          .owes_answer = state == WorkerState::waking,
          .start = start_,
          .description = description_,
          .began_at = began_at_,
          .stats = stats(),
          .driver = std::move(driver_),
          .channel = std::move(channel_),
          .listener = std::move(listener_),
          .copy_notes = std::move(copy_notes_fd_),
          .context_reserve = std::move(room_.reserve),
          .segments = segments_.lend(engine_->connections())};
}

// Returns only if it failed; the worker then serves as before.
Error ControlThread::replace_process(int program, WorkerEvent event,
                                     std::chrono::milliseconds pause_limit) {
  if (auto paused = pause_engine(pause_limit); !paused) return paused.error();
  // The next program has its own report pipe. A connection that ends after this is noticed there.
  for (pollfd wait{report_read_.get(), POLLIN, 0}; poll(&wait, 1, 0) > 0;) {
    if (auto handled = handle_report(); !handled) {
      (void)engine_->resume();
      return handled.error();
    }
  }
  WorkerHandover handover = lend_handover(*next_state(state_, event));
  const Error error = exec_with_handover(handover, program, options_.arguments);
  driver_ = std::move(handover.driver);
  channel_ = std::move(handover.channel);
  listener_ = std::move(handover.listener);
  copy_notes_fd_ = std::move(handover.copy_notes);
  room_.reserve = std::move(handover.context_reserve);
  segments_.take_back(std::move(handover.segments));
  (void)engine_->resume();
  return error;
}

}  // namespace vramswap
