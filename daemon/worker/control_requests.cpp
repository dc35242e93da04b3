// The part of ControlThread that answers the supervisor.
#include <fmt/format.h>
#include <poll.h>

#include <cerrno>

#include "daemon/system/log.hpp"
#include "daemon/worker/control_thread.hpp"
#include "daemon/worker/rendezvous.hpp"

namespace vramswap {
namespace {

using messages::Adopt;
using messages::Adopted;
using messages::Connect;
using messages::Create;
using messages::Describe;
using messages::Done;
using messages::Failed;
using messages::Figures;
using messages::HandOver;
using messages::Import;
using messages::Remove;
using messages::Replace;
using messages::ReportFigures;
using messages::Start;
using messages::Started;

using Clock = Engine::Clock;

// For the I/O threads to close connections they were told to drop: a few system calls.
constexpr std::chrono::seconds kDropTimeout{10};
// To a message boundary on every connection, under load: it comes with the next complete request,
// which the kernel sends in one go.
constexpr std::chrono::milliseconds kLoadedPauseLimit{2000};

// The others are answered in a doze.
bool needs_engine(const messages::Request& request) {
  return !std::holds_alternative<Start>(request) && !std::holds_alternative<Describe>(request) &&
         !std::holds_alternative<Adopt>(request) && !std::holds_alternative<HandOver>(request) &&
         !std::holds_alternative<ReportFigures>(request);
}

Result<void> expect_fds(const std::vector<UniqueFd>& fds, std::size_t count) {
  if (fds.size() == count) return {};
  return fail(fmt::format("expected {} descriptors, got {}", count, fds.size()));
}

}  // namespace

// Failure is the worker's end; what is wrong with a request is for the supervisor alone.
Result<void> ControlThread::handle_packet() {
  auto packet = receive_packet(channel_.get());
  if (!packet && packet.error().code != EMSGSIZE) log_error(packet.error().message);
  if (packet ? !packet->has_value() : packet.error().code != EMSGSIZE) {
    channel_.reset();  // the supervisor has gone
    return {};
  }
  const auto request =
      packet ? messages::decode_request((*packet)->text) : std::unexpected(packet.error());
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
  return woken;
}

Result<ControlThread::Holding*> ControlThread::find(std::uint32_t segment) {
  const auto found = holdings_.find(segment);
  if (found == holdings_.end()) return fail(fmt::format("no segment {}", segment));
  return &found->second;
}

Result<ControlThread::Answer> ControlThread::handle(const Start& start, std::vector<UniqueFd>) {
  if (state_ != WorkerState::fresh) return fail("started already");
  start_ = start;
  if (!start.rendezvous.empty()) {
    auto listener = rendezvous::listen(start.rendezvous);
    if (!listener) return std::unexpected(listener.error());
    listener_ = *std::move(listener);
  }
  auto engine = Engine::start(start_, report_write_.get(), options_.hardened);
  if (!engine) return std::unexpected(engine.error());
  engine_ = *std::move(engine);
  auto info = engine_->device().info();
  if (!info) return std::unexpected(info.error());
  enter(WorkerEvent::started);
  return Answer{Started{*std::move(info)}};
}

Result<void> ControlThread::hold(std::uint32_t id, std::unique_ptr<Store> store, UniqueFd store_fd,
                                 UniqueFd page_map) {
  auto pages = PageMap::map(page_map.get(), store->size_bytes() / transmission::kPageBytes);
  if (!pages) return std::unexpected(pages.error());
  const auto [entry, fresh] = holdings_.try_emplace(id);
  if (!fresh) return fail(fmt::format("segment {} is here already", id));
  Holding& holding = entry->second;
  holding.size_bytes = store->size_bytes();
  holding.page_map = std::move(page_map);
  holding.store = std::move(store_fd);
  holding.segment.id = id;
  holding.segment.store = std::move(store);
  holding.segment.pages = *std::move(pages);
  return {};
}

Result<ControlThread::Answer> ControlThread::handle(const Create& create,
                                                    std::vector<UniqueFd> fds) {
  if (auto result = expect_fds(fds, 1); !result) return std::unexpected(result.error());
  if (!engine_) return fail("not started");
  auto store = engine_->device().create(create.size_bytes);
  if (!store) return std::unexpected(store.error());
  auto exported = (*store)->export_fd();
  if (!exported) return std::unexpected(exported.error());
  auto copy = duplicate(*exported);
  if (!copy) return std::unexpected(copy.error());
  auto held = hold(create.segment, *std::move(store), *std::move(copy), std::move(fds[0]));
  if (!held) return std::unexpected(held.error());
  Answer answer{Done{}};
  answer.fds.push_back(*std::move(exported));
  return answer;
}

Result<ControlThread::Answer> ControlThread::handle(const Import& import,
                                                    std::vector<UniqueFd> fds) {
  if (auto result = expect_fds(fds, 2); !result) return std::unexpected(result.error());
  if (!engine_) return fail("not started");
  auto copy = duplicate(fds[1]);
  if (!copy) return std::unexpected(copy.error());
  auto store = engine_->device().import(*std::move(copy), import.size_bytes);
  if (!store) return std::unexpected(store.error());
  auto held = hold(import.segment, *std::move(store), std::move(fds[1]), std::move(fds[0]));
  if (!held) return std::unexpected(held.error());
  return Answer{Done{}};
}

Result<ControlThread::Answer> ControlThread::handle(const Connect& connect,
                                                    std::vector<UniqueFd> fds) {
  if (auto result = expect_fds(fds, connect.connections.size()); !result) {
    return std::unexpected(result.error());
  }
  const auto holding = find(connect.segment);
  if (!holding) return std::unexpected(holding.error());
  for (const auto& name : connect.connections) {
    if (name.thread < engine_->thread_count()) continue;
    return fail(fmt::format("no I/O thread {}", name.thread));
  }
  for (std::size_t i = 0; i < fds.size(); ++i) {
    const auto& name = connect.connections[i];
    auto served = engine_->serve((*holding)->segment, name, std::move(fds[i]));
    if (!served) return std::unexpected(served.error());
    (*holding)->connected.emplace(name.id, name.thread);
  }
  (*holding)->awaits_reconnect = false;
  return Answer{Done{}};
}

Result<void> ControlThread::drop_connections(Holding& holding) {
  if (auto result = engine_->drop(holding.segment); !result) return result;
  const auto deadline = Clock::now() + kDropTimeout;
  while (holding.segment.open_connections.load(std::memory_order_acquire) > 0) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
    pollfd wait{report_read_.get(), POLLIN, 0};
    if (left.count() <= 0 || poll(&wait, 1, static_cast<int>(left.count())) == 0) {
      return fail(fmt::format("segment {}: its connections do not end", holding.segment.id));
    }
    if (auto result = handle_report(); !result) return result;
  }
  return {};
}

Result<ControlThread::Answer> ControlThread::handle(const Remove& remove, std::vector<UniqueFd>) {
  const auto holding = find(remove.segment);
  if (!holding) return std::unexpected(holding.error());
  if (auto result = drop_connections(**holding); !result) return std::unexpected(result.error());
  const auto scrubbed = (*holding)->segment.store->scrub();
  holdings_.erase(remove.segment);
  if (!scrubbed) return std::unexpected(scrubbed.error());
  return Answer{Done{}};
}

Result<ControlThread::Answer> ControlThread::handle(const Describe& describe,
                                                    std::vector<UniqueFd>) {
  description_ = describe.text;
  return Answer{Done{}};
}

Result<ControlThread::Answer> ControlThread::handle(const Adopt&, std::vector<UniqueFd>) {
  Adopted adopted{.description = description_, .state = state_, .segments = {}};
  for (const auto& [id, holding] : holdings_) {
    auto& segment = adopted.segments.emplace_back(id);
    for (const auto& [connection, thread] : holding.connected) {
      segment.connections.push_back({connection, thread});
    }
  }
  return Answer{std::move(adopted)};
}

Result<ControlThread::Answer> ControlThread::handle(const HandOver& hand_over,
                                                    std::vector<UniqueFd>) {
  const auto holding = find(hand_over.segment);
  if (!holding) return std::unexpected(holding.error());
  Answer answer{Done{}};
  for (const UniqueFd* fd : {&(*holding)->page_map, &(*holding)->store}) {
    auto copy = duplicate(*fd);
    if (!copy) return std::unexpected(copy.error());
    answer.fds.push_back(*std::move(copy));
  }
  return answer;
}

// The answer comes from the program that follows.
Result<ControlThread::Answer> ControlThread::handle(const Replace& replace, std::vector<UniqueFd>) {
  if (!engine_) return fail("not started");
  return std::unexpected(
      replace_process(replace.program, WorkerEvent::replaced, kLoadedPauseLimit));
}

Result<ControlThread::Answer> ControlThread::handle(const ReportFigures&, std::vector<UniqueFd>) {
  return Answer{Figures{figures()}};
}

}  // namespace vramswap
