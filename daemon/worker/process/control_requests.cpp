// How ControlThread answers the supervisor.
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <utility>

#include "daemon/handover/worker_socket.hpp"
#include "daemon/system/log.hpp"
#include "daemon/system/own_program.hpp"
#include "daemon/system/parallel.hpp"
#include "daemon/worker/process/control_thread.hpp"
#include "daemon/worker/process/page_trial.hpp"
#include "daemon/worker/process/store_move.hpp"

namespace vramswap {
namespace {

using messages::AbandonMove;
using messages::Adopt;
using messages::Adopted;
using messages::Connect;
using messages::Create;
using messages::Describe;
using messages::Done;
using messages::Driver;
using messages::Failed;
using messages::FinishMove;
using messages::HandOver;
using messages::Import;
using messages::Ping;
using messages::PrepareMove;
using messages::Remove;
using messages::Replace;
using messages::ReportStats;
using messages::ShareDriver;
using messages::Start;
using messages::Started;
using messages::Stats;

using Clock = Engine::Clock;

// How long I/O threads may take to close connections: a few system calls each.
constexpr std::chrono::seconds kDropTimeout{10};

// A dozing worker answers the other requests without waking up.
bool needs_engine(const messages::Request& request) {
  return !std::holds_alternative<Start>(request) && !std::holds_alternative<Describe>(request) &&
         !std::holds_alternative<Adopt>(request) && !std::holds_alternative<HandOver>(request) &&
         !std::holds_alternative<AbandonMove>(request) &&
         !std::holds_alternative<ReportStats>(request) && !std::holds_alternative<Ping>(request) &&
         !std::holds_alternative<ShareDriver>(request);
}

Result<void> expect_fds(const std::vector<UniqueFd>& fds, std::size_t count) {
  if (fds.size() == count) return {};
  return fail(fmt::format("expected {} descriptors, got {}", count, fds.size()));
}

Result<UniqueFd> duplicate(const UniqueFd& fd) {
  UniqueFd copy = fd.duplicate();
  if (!copy) return fail_errno("worker", "F_DUPFD_CLOEXEC", errno);
  return copy;
}

}  // namespace

// An error ends the worker. A faulty request is no such error: it only gets the answer Failed.
Result<void> ControlThread::handle_packet() {
  auto packet = receive_packet(channel_.get());
  if (!packet && packet.error().code != EMSGSIZE) log_error(packet.error().message);
  if (packet ? !packet->has_value() : packet.error().code != EMSGSIZE) {
    channel_.reset();  // the supervisor is gone
    return {};
  }
  if (packet && (*packet)->lacks_fds) packet = lacks_fds_error();
  const auto request = packet ? messages::decode_request((*packet)->text) : packet.error();
  auto woken = request && needs_engine(*request) ? wake() : Result<void>{};
  auto answer =
      !request ? std::unexpected(request.error())
      : !woken
          ? std::unexpected(woken.error())
          : std::visit([&](const auto& known) { return handle(known, std::move((*packet)->fds)); },
                       *request);
  if (answer) {
    tell(answer->message, answer->fds);
  } else {
    tell(Failed{answer.error().message, answer.error().code});
  }
  // It served, and cannot go on.
  if (woken && !engine_ && state_ == WorkerState::serving) return answer.error();
  return woken;
}

Result<ControlThread::Answer> ControlThread::handle(const Start& start, std::vector<UniqueFd> fds) {
  if (state_ != WorkerState::fresh) return fail("already started");
  const bool has_driver = !start.driver_path.empty();
  const std::size_t files = (has_driver ? 1U : 0U) + (start.has_page_kernel ? 1U : 0U) +
                            (start.has_copy_notes ? 1U : 0U) +
                            (start.has_context_reserve ? 1U : 0U);
  if (auto result = expect_fds(fds, files); !result) return result.error();
  driver_.path = start.driver_path;
  auto next = fds.begin();
  if (has_driver) driver_.library = std::move(*next++);
  if (start.has_page_kernel) driver_.page_kernel = std::move(*next++);
  if (start.has_copy_notes) copy_notes_fd_ = std::move(*next++);
  if (start.has_context_reserve) room_.reserve = std::move(*next++);
  room_.context_bytes = start.context_bytes;
  // A machine without memory may have delayed this worker for long, and its successor may serve by
  // now.
  pollfd supervisor{channel_.get(), POLLRDHUP, 0};
  if (poll(&supervisor, 1, 0) > 0 && supervisor.revents != 0) return fail("the supervisor is gone");
  start_ = start;
  if (!start.rendezvous.empty()) {
    auto listener = worker_socket::listen(start.rendezvous);
    if (!listener) return listener.error();
    listener_ = *std::move(listener);
  }
  map_copy_notes();
  if (copy_notes_) copy_notes_->take_over();
  if (start.leaves_card) room_.give_up();
  if (auto started = start_engine(!start.leaves_card); !started) return started.error();
  if (start.leaves_card) {
    enter(WorkerEvent::started);
    return Answer{Started{}};
  }
  auto info = engine_->device().info();
  if (!info) return info.error();
  start_.context_bytes = info->context_bytes;
  set_context_room_aside();
  // The free memory is smaller now by the reserve.
  info = engine_->device().info();
  if (!info) return info.error();
  // Another process could take the card during a doze.
  if (info->is_exclusive) start_.doze_after = std::chrono::seconds(0);
  enter(WorkerEvent::started);
  return Answer{Started{*std::move(info)}};
}

Result<ControlThread::Answer> ControlThread::handle(const Create& create,
                                                    std::vector<UniqueFd> fds) {
  if (auto result = expect_fds(fds, 1); !result) return result.error();
  if (auto ready = ensure_card(); !ready) return ready.error();
  auto pages = PageMap::map(fds[0].get(), create.size_bytes / kPageBytes);
  if (!pages) return pages.error();
  auto store = engine_->device().create(create.size_bytes);
  if (!store) return store.error();
  auto exported = (*store)->export_fd();
  if (!exported) return exported.error();
  auto copy = duplicate(*exported);
  if (!copy) return copy.error();
  auto added = segments_.add(create.segment, *std::move(store), *std::move(copy), std::move(fds[0]),
                             *std::move(pages));
  if (!added) return added.error();
  if (auto entry = segments_.find(create.segment)) note_store((*entry)->segment);
  Answer answer{Done{}};
  answer.fds.push_back(*std::move(exported));
  return answer;
}

Result<ControlThread::Answer> ControlThread::handle(const Import& import,
                                                    std::vector<UniqueFd> fds) {
  if (auto result = expect_fds(fds, 2); !result) return result.error();
  if (!engine_) return fail("not started");
  auto pages = PageMap::map(fds[0].get(), import.size_bytes / kPageBytes);
  if (!pages) return pages.error();
  const bool is_ram = start_.backend == control::Backend::ram;
  const StorePlace place = is_ram ? StorePlace::host : pages->store().place;
  if (place == StorePlace::card) {
    if (auto ready = ensure_card(); !ready) return ready.error();
  }
  const auto device = engine_->device_at(place);
  if (!device) return device.error();
  auto copy = duplicate(fds[1]);
  if (!copy) return copy.error();
  auto store = (*device)->import(*std::move(copy), import.size_bytes);
  if (!store) return store.error();
  auto added = segments_.add(import.segment, *std::move(store), std::move(fds[1]),
                             std::move(fds[0]), *std::move(pages));
  if (!added) return added.error();
  // The kernel may have swapped pages there. Should the supervisor die before it sends the sockets,
  // this worker may be the only one that holds them, and waits for the next supervisor.
  const auto entry = segments_.find(import.segment);
  if (!entry) return entry.error();
  (*entry)->awaits_reconnect = true;
  note_store((*entry)->segment);
  if (copy_notes_) {
    auto tried = try_suspects(*copy_notes_, **device, (*entry)->segment);
    if (!tried) return tried.error();
  }
  return Answer{Done{}};
}

Result<ControlThread::Answer> ControlThread::handle(const Connect& connect,
                                                    std::vector<UniqueFd> fds) {
  if (auto result = expect_fds(fds, connect.connections.size()); !result) {
    return result.error();
  }
  const auto entry = segments_.find(connect.segment);
  if (!entry) return entry.error();
  for (const auto& name : connect.connections) {
    if (name.thread < engine_->thread_count()) continue;
    return fail(fmt::format("no I/O thread {}", name.thread));
  }
  for (std::size_t i = 0; i < fds.size(); ++i) {
    const auto& name = connect.connections[i];
    auto served = engine_->serve((*entry)->segment, name, std::move(fds[i]));
    if (!served) return served.error();
    (*entry)->connected.emplace(name.id, name.thread);
  }
  (*entry)->awaits_reconnect = false;
  return Answer{Done{}};
}

Result<void> ControlThread::drop_connections(SegmentEntry& entry) {
  if (auto result = engine_->drop(entry.segment); !result) return result;
  const auto deadline = Clock::now() + kDropTimeout;
  while (entry.segment.open_connections.load(std::memory_order_acquire) > 0) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
    pollfd wait{report_read_.get(), POLLIN, 0};
    if (left.count() <= 0 || poll(&wait, 1, static_cast<int>(left.count())) == 0) {
      return fail(fmt::format("segment {}: connections did not close within {} s", entry.segment.id,
                              kDropTimeout.count()));
    }
    if (auto result = handle_report(); !result) return result;
  }
  return {};
}

Result<ControlThread::Answer> ControlThread::handle(const Remove& remove, std::vector<UniqueFd>) {
  const auto entry = segments_.find(remove.segment);
  if (!entry) return entry.error();
  if (auto result = drop_connections(**entry); !result) return result.error();
  const auto scrubbed = (*entry)->segment.store->scrub();
  segments_.erase(remove.segment);
  if (copy_notes_) copy_notes_->forget_store(remove.segment);
  if (!scrubbed) return scrubbed.error();
  return Answer{Done{}};
}

Result<ControlThread::Answer> ControlThread::handle(const PrepareMove& prepare,
                                                    std::vector<UniqueFd>) {
  if (auto ready = ensure_card(); !ready) return ready.error();
  const auto found = segments_.find(prepare.segment);
  if (!found) return found.error();
  SegmentEntry& entry = **found;
  entry.next.reset();
  if (entry.place == prepare.store.place) return fail("it is there already");
  const auto device = engine_->device_at(prepare.store.place);
  if (!device) return device.error();
  SegmentEntry::Next next;
  next.id = prepare.store;
  auto store = (*device)->create(entry.size_bytes);
  if (!store) return store.error();
  next.store = *std::move(store);
  auto exported = next.store->export_fd();
  if (!exported) return exported.error();
  next.fd = *std::move(exported);
  Answer answer{Done{}};
  auto copy = duplicate(next.fd);
  if (!copy) return copy.error();
  answer.fds.push_back(*std::move(copy));
  entry.next = std::move(next);
  return answer;
}

// The page map names the new store while no I/O thread serves, so that every page was written to
// the store that has it.
Result<ControlThread::Answer> ControlThread::handle(const FinishMove& finish,
                                                    std::vector<UniqueFd>) {
  const auto found = segments_.find(finish.segment);
  if (!found) return found.error();
  SegmentEntry& entry = **found;
  auto next = std::exchange(entry.next, std::nullopt);
  if (!next) return fail("no move was prepared");
  if (auto paused = pause_engine(kLoadedPauseLimit); !paused) return paused.error();
  const std::uint64_t lost_before = entry.segment.lost_pages;
  const StoreMove::Options options{
      .threads = std::min(parallel_threads(), static_cast<unsigned>(engine_->thread_count())),
      .notes = copy_notes_ ? &*copy_notes_ : nullptr};
  const auto moved = StoreMove::run(engine_->device(), entry.segment, *next->store, options);
  if (!moved) {
    // As an I/O thread does: the next worker imports the old store.
    log_error(moved.error().message);
    std::_Exit(kExitStoreFailed);
  }
  entry.segment.pages->set_store(next->id);
  std::swap(entry.segment.store, next->store);
  std::swap(entry.store, next->fd);
  entry.place = next->id.place;
  note_store(entry.segment);
  if (auto resumed = engine_->resume(); !resumed) return resumed.error();
  if (entry.segment.lost_pages != lost_before) tell(messages::LostPagesChanged{finish.segment});
  // Of host memory nobody else gets the bytes: the kernel clears it first.
  if (next->store->place() == StorePlace::card) {
    if (auto scrubbed = next->store->scrub(); !scrubbed) log_error(scrubbed.error().message);
  }
  return Answer{Done{}};
}

Result<ControlThread::Answer> ControlThread::handle(const AbandonMove& abandon,
                                                    std::vector<UniqueFd>) {
  const auto entry = segments_.find(abandon.segment);
  if (!entry) return entry.error();
  (*entry)->next.reset();
  return Answer{Done{}};
}

Result<ControlThread::Answer> ControlThread::handle(const Describe& describe,
                                                    std::vector<UniqueFd>) {
  description_ = describe.text;
  return Answer{Done{}};
}

Result<ControlThread::Answer> ControlThread::handle(const Adopt&, std::vector<UniqueFd>) {
  Adopted adopted{.description = description_, .state = state_, .segments = {}};
  for (const auto& [id, entry] : segments_) {
    auto& segment = adopted.segments.emplace_back(id);
    for (const auto& [connection, thread] : entry.connected) {
      segment.connections.push_back({connection, thread});
    }
  }
  Answer answer{std::move(adopted)};
  if (copy_notes_fd_ && std::exchange(owes_copy_notes_, false)) {
    if (UniqueFd copy = copy_notes_fd_.duplicate()) answer.fds.push_back(std::move(copy));
  }
  return answer;
}

Result<ControlThread::Answer> ControlThread::handle(const HandOver& hand_over,
                                                    std::vector<UniqueFd>) {
  const auto entry = segments_.find(hand_over.segment);
  if (!entry) return entry.error();
  Answer answer{Done{}};
  for (const UniqueFd* fd : {&(*entry)->page_map, &(*entry)->store}) {
    auto copy = duplicate(*fd);
    if (!copy) return copy.error();
    answer.fds.push_back(*std::move(copy));
  }
  return answer;
}

Result<ControlThread::Answer> ControlThread::handle(const ShareDriver&, std::vector<UniqueFd>) {
  if (!driver_.library) return Answer{Driver{}};
  Answer answer{Driver{driver_.path, static_cast<bool>(driver_.page_kernel)}};
  for (const UniqueFd* fd : {&driver_.library, &driver_.page_kernel}) {
    if (!*fd) continue;
    auto copy = duplicate(*fd);
    if (!copy) return copy.error();
    answer.fds.push_back(*std::move(copy));
  }
  return answer;
}

// The next program sends the answer.
Result<ControlThread::Answer> ControlThread::handle(const Replace& replace, std::vector<UniqueFd>) {
  if (!engine_) return fail("not started");
  for (auto& [id, entry] : segments_) entry.next.reset();
  if (replace.leaves_card && !segments_.need_card()) {
    start_.leaves_card = true;
    room_.give_up();
  }
  if (replace.program.empty()) {
    const auto own = own_program();
    return own ? replace_process(*own, WorkerEvent::replaced, kLoadedPauseLimit) : own.error();
  }
  const UniqueFd program(open(replace.program.c_str(), O_PATH | O_CLOEXEC));
  if (!program) return fail_errno(replace.program, "open", errno);
  Error error = replace_process(program.get(), WorkerEvent::replaced, kLoadedPauseLimit);
  error.message = fmt::format("{}: {}", replace.program, error.message);
  return error;
}

Result<ControlThread::Answer> ControlThread::handle(const ReportStats&, std::vector<UniqueFd>) {
  return Answer{Stats{stats()}};
}

Result<ControlThread::Answer> ControlThread::handle(const Ping&, std::vector<UniqueFd>) {
  return Answer{messages::Alive{}};
}

}  // namespace vramswap
