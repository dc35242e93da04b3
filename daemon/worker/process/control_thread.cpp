#include "daemon/worker/process/control_thread.hpp"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <ranges>
#include <utility>

#include "daemon/handover/worker_socket.hpp"
#include "daemon/system/log.hpp"

namespace vramswap {
namespace {

using messages::ConnectionEnded;
using messages::Done;
using messages::Message;
using messages::StateChanged;

using Clock = Engine::Clock;

// How often a worker that serves looks whether a copy hangs or nobody wants anything.
constexpr std::chrono::milliseconds kTick{1000};
// To a message boundary on every connection: without load it is there.
constexpr std::chrono::milliseconds kIdlePauseLimit{100};

// /proc/self/exe: this very program, even where the file has been replaced.
constexpr const char* kThisProgram = "/proc/self/exe";

}  // namespace

ControlThread::ControlThread(WorkerHandover image, WorkerOptions options)
    : options_(std::move(options)),
      state_(image.state),
      owes_answer_(image.owes_answer),
      start_(std::move(image.start)),
      description_(std::move(image.description)),
      began_at_(image.began_at),
      earlier_stats_(image.stats),
      channel_(std::move(image.channel)),
      listener_(std::move(image.listener)) {
  for (auto& segment : image.segments) {
    SegmentEntry& entry = segments_[segment.id];
    entry.segment.id = segment.id;
    entry.size_bytes = segment.size_bytes;
    entry.page_map = std::move(segment.page_map);
    entry.store = std::move(segment.store);
    entry.awaits_reconnect = segment.awaits_reconnect;
    for (const auto& connection : segment.connections) {
      entry.connected.emplace(connection.id, connection.thread);
    }
    entry.parked = std::move(segment.connections);
  }
}

Result<void> ControlThread::run() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return fail_errno("worker", "pipe2", errno);
  report_read_ = UniqueFd(ends[0]);
  report_write_ = UniqueFd(ends[1]);
  if (state_ != WorkerState::fresh) tell(StateChanged{state_});
  if (state_ == WorkerState::waking) {
    if (auto result = wake(); !result) return result;
  }
  while (channel_ || may_be_needed()) {
    if (auto result = wait(); !result) return result;
  }
  return scrub_unneeded();
}

// One turn: what has come from whom.
Result<void> ControlThread::wait() {
  // Without a supervisor the swap is served on, and the next supervisor waited for.
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
  } else if (calls && channel_) {  // it has been closed if the report could not be told
    if (auto result = handle_packet(); !result) return result;
  }
  if (engine_) tick();
  return {};
}

// Without a supervisor: whether the kernel uses what is held here, or may do so again once there is
// another one.
bool ControlThread::may_be_needed() const {
  return std::ranges::any_of(segments_, [this](const auto& known) {
    const SegmentEntry& entry = known.second;
    return !entry.connected.empty() || (entry.awaits_reconnect && listener_);
  });
}

// The supervisor has died between disconnecting and scrubbing. Only what the kernel has let go: a
// store without a device may be one that another worker is to serve.
Result<void> ControlThread::scrub_unneeded() {
  for (auto& [id, entry] : segments_) {
    if (!entry.is_disconnected || !entry.segment.store) continue;
    if (auto result = entry.segment.store->scrub(); !result) return result;
  }
  return {};
}

void ControlThread::enter(WorkerEvent event) {
  if (const auto next = next_state(state_, event)) state_ = *next;
  tell(StateChanged{state_});
}

// Closes the channel where the supervisor can not be told: better none than one that misses things.
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
  ConnectionReport report;
  if (read(report_read_.get(), &report, sizeof report) != sizeof report) {
    return fail_errno("worker", "read report", errno);
  }
  if (const auto entry = find(report.segment_id)) {
    (*entry)->connected.erase(report.connection_id);
    if (report.end == ConnectionEnd::hung_up || report.end == ConnectionEnd::broken) {
      (*entry)->awaits_reconnect = true;
    }
    (*entry)->is_disconnected |= report.end == ConnectionEnd::disconnected;
  }
  tell(ConnectionEnded{report.segment_id, report.connection_id, report.end});
  return {};
}

// Takes the store device again, over what is held. Nothing to do while it serves or is fresh.
Result<void> ControlThread::wake() {
  if (engine_ || state_ == WorkerState::fresh) return {};
  if (state_ == WorkerState::dozing) enter(WorkerEvent::called);
  auto engine = Engine::start(start_, report_write_.get(), options_.hardened);
  if (!engine) return engine.error();
  engine_ = *std::move(engine);
  for (auto& [id, entry] : segments_) {
    if (auto result = reimport_store(entry); !result) return result;
  }
  for (auto& [id, entry] : segments_) {
    for (auto& parked : std::exchange(entry.parked, {})) {
      auto served =
          engine_->serve(entry.segment, {parked.id, parked.thread}, std::move(parked.socket));
      if (!served) return served;
    }
  }
  served_ = 0;
  last_request_ = Clock::now();
  enter(WorkerEvent::woken);
  if (std::exchange(owes_answer_, false)) tell(Done{});
  return {};
}

Result<void> ControlThread::reimport_store(SegmentEntry& entry) {
  auto copy = duplicate(entry.store);
  if (!copy) return copy.error();
  auto store = engine_->device().import(*std::move(copy), entry.size_bytes);
  if (!store) return store.error();
  auto pages = PageMap::map(entry.page_map.get(), entry.size_bytes / kPageBytes);
  if (!pages) return pages.error();
  entry.segment.store = *std::move(store);
  entry.segment.pages = *std::move(pages);
  return {};
}

void ControlThread::tick() {
  end_if_hung();
  const auto now = Clock::now();
  if (const auto served = engine_->requests_served(); served != served_) {
    served_ = served;
    last_request_ = now;
  }
  if (start_.doze_after.count() == 0 || now - last_request_ < start_.doze_after) return;
  if (segments_.empty()) return;
  const Error error = replace_process(kThisProgram, WorkerEvent::went_idle, kIdlePauseLimit);
  log_error(error.message);
  last_request_ = now;
}

// The kernel sends again to the next worker what this one had received.
void ControlThread::end_if_hung() const {
  const auto since = engine_->copy_started_at();
  if (!since || Clock::now() - *since < start_.hang_timeout) return;
  log_error(fmt::format("a copy has not ended within {} s: the worker ends, for another to follow",
                        start_.hang_timeout.count()));
  std::_Exit(kExitStoreHung);
}

// Since the process began, whatever programs it has been since then.
control::IoStats ControlThread::stats() const {
  control::IoStats sum = earlier_stats_;
  if (engine_) sum.add(engine_->stats());
  sum.counted_for = Clock::now().time_since_epoch() - began_at_;
  return sum;
}

// What a new process is given; the engine, if there is one, is paused. Its sockets are lent.
WorkerHandover ControlThread::image(WorkerState state) {
  WorkerHandover image{.state = state,
                       .owes_answer = state == WorkerState::waking,
                       .start = start_,
                       .description = description_,
                       .began_at = began_at_,
                       .stats = stats(),
                       .channel = std::move(channel_),
                       .listener = std::move(listener_),
                       .segments = {}};
  for (auto& [id, entry] : segments_) {
    WorkerHandover::Segment segment{.id = id,
                                    .size_bytes = entry.size_bytes,
                                    .page_map = std::move(entry.page_map),
                                    .store = std::move(entry.store),
                                    .awaits_reconnect = entry.awaits_reconnect,
                                    .connections = {}};
    for (const auto& parked : engine_->connections()) {
      if (parked.segment_id != id) continue;
      segment.connections.push_back({parked.connection_id, entry.connected.at(parked.connection_id),
                                     UniqueFd(parked.socket)});
    }
    image.segments.push_back(std::move(segment));
  }
  return image;
}

// Returns only if it could not be done; the worker then serves as before.
Error ControlThread::replace_process(const std::string& program, WorkerEvent event,
                                     std::chrono::milliseconds pause_limit) {
  const auto paused = engine_->pause(pause_limit);
  if (!paused) return paused.error();
  if (!*paused) return {fmt::format("the connections are busy for {} ms", pause_limit.count())};
  // The pipe ends with this process; who ends after this is noticed by the next one.
  for (pollfd wait{report_read_.get(), POLLIN, 0}; poll(&wait, 1, 0) > 0;) {
    if (auto handled = handle_report(); !handled) {
      (void)engine_->resume();
      return handled.error();
    }
  }
  WorkerHandover given = image(*next_state(state_, event));
  const Error error = exec_with_handover(given, program, options_.arguments);
  channel_ = std::move(given.channel);
  listener_ = std::move(given.listener);
  for (auto& segment : given.segments) {
    SegmentEntry& entry = segments_[segment.id];
    entry.page_map = std::move(segment.page_map);
    entry.store = std::move(segment.store);
    for (auto& connection : segment.connections) (void)connection.socket.release();  // the thread's
  }
  (void)engine_->resume();
  return error;
}

Result<UniqueFd> ControlThread::duplicate(const UniqueFd& fd) {
  UniqueFd copy = fd.duplicate();
  if (!copy) return fail_errno("worker", "F_DUPFD_CLOEXEC", errno);
  return copy;
}

}  // namespace vramswap
