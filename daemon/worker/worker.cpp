#include "daemon/worker/worker.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <map>
#include <memory>
#include <ranges>
#include <span>
#include <vector>

#include "daemon/base/unique_fd.hpp"
#include "daemon/system/hardening.hpp"
#include "daemon/system/log.hpp"
#include "daemon/worker/channel.hpp"
#include "daemon/worker/engine.hpp"
#include "daemon/worker/messages.hpp"
#include "daemon/worker/rendezvous.hpp"
#include "daemon/worker/segment.hpp"
#include "daemon/worker/worker_image.hpp"

namespace vramswap {
namespace {

using messages::Adopt;
using messages::Adopted;
using messages::Connect;
using messages::ConnectionEnded;
using messages::Create;
using messages::Describe;
using messages::Done;
using messages::Failed;
using messages::HandOver;
using messages::Import;
using messages::Message;
using messages::Remove;
using messages::Replace;
using messages::Start;
using messages::Started;
using messages::StateChanged;

using Clock = std::chrono::steady_clock;

// For the I/O threads to close connections they were told to drop: a few system calls.
constexpr std::chrono::seconds kDropTimeout{10};
// How often a worker that serves looks whether a copy hangs or nobody wants anything.
constexpr std::chrono::milliseconds kTick{1000};
// To a message boundary on every connection. Without load it is there; under load it comes with
// the next complete request, which the kernel sends in one go.
constexpr std::chrono::milliseconds kIdlePauseLimit{100};
constexpr std::chrono::milliseconds kLoadedPauseLimit{2000};

// /proc/self/exe: this very program, even where the file has been replaced.
constexpr const char* kThisProgram = "/proc/self/exe";

struct Answer {
  Message message;
  std::vector<UniqueFd> fds = {};
};

// A segment and the descriptors that outlive the engine.
struct Holding {
  Segment segment;
  std::uint64_t size_bytes = 0;
  UniqueFd page_map;
  UniqueFd store;
  std::map<std::uint32_t, unsigned> connected;  // id to I/O thread
  // A connection of it ended other than by the kernel's good-bye: "reconnect me".
  bool awaits_reconnect = false;
  std::vector<WorkerImage::Connection> parked;  // while there is no engine
};

class Worker {
 public:
  Worker(UniqueFd channel, WorkerOptions options)
      : options_(std::move(options)), channel_(std::move(channel)) {}
  Worker(WorkerImage image, WorkerOptions options);

  Result<void> run();

 private:
  Result<Answer> handle(const Start& start, std::vector<UniqueFd> fds);
  Result<Answer> handle(const Create& create, std::vector<UniqueFd> fds);
  Result<Answer> handle(const Import& import, std::vector<UniqueFd> fds);
  Result<Answer> handle(const Connect& connect, std::vector<UniqueFd> fds);
  Result<Answer> handle(const Remove& remove, std::vector<UniqueFd> fds);
  Result<Answer> handle(const Describe& describe, std::vector<UniqueFd> fds);
  Result<Answer> handle(const Adopt& adopt, std::vector<UniqueFd> fds);
  Result<Answer> handle(const HandOver& hand_over, std::vector<UniqueFd> fds);
  Result<Answer> handle(const Replace& replace, std::vector<UniqueFd> fds);

  Result<void> wait();
  Result<void> handle_packet();
  void tell(const Message& message, const std::vector<UniqueFd>& fds = {});
  Result<void> handle_report();
  Result<Holding*> find(std::uint32_t segment);
  Result<void> hold(std::uint32_t id, std::unique_ptr<Store> store, UniqueFd store_fd,
                    UniqueFd page_map);
  Result<void> drop_connections(Holding& holding);

  void enter(WorkerEvent event);
  Result<void> wake();
  Result<void> import_held(Holding& holding);
  void tick();
  void end_if_hung() const;
  WorkerImage image(WorkerState state);
  Error replace_process(const std::string& program, WorkerEvent event,
                        std::chrono::milliseconds pause_limit);
  bool may_be_needed() const;

  const WorkerOptions options_;
  WorkerState state_ = WorkerState::fresh;
  bool owes_answer_ = false;
  Start start_;
  std::string description_;
  UniqueFd channel_;   // empty once the supervisor has gone
  UniqueFd listener_;  // of the rendezvous
  UniqueFd report_read_;
  UniqueFd report_write_;
  // Before the engine, whose threads use them.
  std::map<std::uint32_t, Holding> holdings_;
  std::unique_ptr<Engine> engine_;
  std::uint64_t served_ = 0;  // as of the last tick that saw a new request
  Clock::time_point last_request_ = Clock::now();
};

// The others are answered in a doze.
bool needs_engine(const messages::Request& request) {
  return !std::holds_alternative<Start>(request) && !std::holds_alternative<Describe>(request) &&
         !std::holds_alternative<Adopt>(request) && !std::holds_alternative<HandOver>(request);
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

Worker::Worker(WorkerImage image, WorkerOptions options)
    : options_(std::move(options)),
      state_(image.state),
      owes_answer_(image.owes_answer),
      start_(std::move(image.start)),
      description_(std::move(image.description)),
      channel_(std::move(image.channel)),
      listener_(std::move(image.listener)) {
  for (auto& segment : image.segments) {
    Holding& holding = holdings_[segment.id];
    holding.segment.id = segment.id;
    holding.size_bytes = segment.size_bytes;
    holding.page_map = std::move(segment.page_map);
    holding.store = std::move(segment.store);
    holding.awaits_reconnect = segment.awaits_reconnect;
    for (const auto& connection : segment.connections) {
      holding.connected.emplace(connection.id, connection.thread);
    }
    holding.parked = std::move(segment.connections);
  }
}

Result<void> Worker::run() {
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
  // Nothing is scrubbed: the supervisor has gone, and others may hold the stores.
  return {};
}

// One turn: what has come from whom.
Result<void> Worker::wait() {
  // Without a supervisor the swap is served on, and the next supervisor waited for.
  const int caller = channel_ ? channel_.get() : listener_.get();
  std::vector<pollfd> waits{{report_read_.get(), POLLIN, 0}, {caller, POLLIN, 0}};
  for (const auto& [id, holding] : holdings_) {
    for (const auto& parked : holding.parked) waits.push_back({parked.socket.get(), POLLIN, 0});
  }
  const int timeout = engine_ ? static_cast<int>(kTick.count()) : -1;
  if (poll(waits.data(), waits.size(), timeout) < 0 && errno != EINTR) {
    return fail_errno("worker", "poll", errno);
  }
  if (std::ranges::any_of(waits | std::views::drop(2), &pollfd::revents)) return wake();
  if (waits[0].revents != 0) {
    if (auto result = handle_report(); !result) return result;
  }
  if (waits[1].revents != 0) {
    if (!channel_) {
      channel_ = rendezvous::accept(listener_.get());
    } else if (auto result = handle_packet(); !result) {
      return result;
    }
  }
  if (engine_) tick();
  return {};
}

// Without a supervisor: whether the kernel uses what is held here, or may do so again once there is
// another one.
bool Worker::may_be_needed() const {
  return std::ranges::any_of(holdings_, [this](const auto& entry) {
    const Holding& holding = entry.second;
    return !holding.connected.empty() || (holding.awaits_reconnect && listener_);
  });
}

void Worker::enter(WorkerEvent event) {
  if (const auto next = next_state(state_, event)) state_ = *next;
  tell(StateChanged{state_});
}

// Failure is the worker's end; what is wrong with a request is for the supervisor alone.
Result<void> Worker::handle_packet() {
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

// Closes the channel where the supervisor can not be told: better none than one that misses things.
void Worker::tell(const Message& message, const std::vector<UniqueFd>& fds) {
  if (!channel_) return;
  std::vector<int> numbers;
  for (const UniqueFd& fd : fds) numbers.push_back(fd.get());
  const auto sent = send_packet(channel_.get(), encode(message), numbers);
  if (sent) return;
  log_error(sent.error().message);
  channel_.reset();
}

Result<void> Worker::handle_report() {
  ConnectionReport report;
  if (read(report_read_.get(), &report, sizeof report) != sizeof report) {
    return fail_errno("worker", "read report", errno);
  }
  if (const auto holding = find(report.segment_id)) {
    (*holding)->connected.erase(report.connection_id);
    if (report.end == ConnectionEnd::hung_up || report.end == ConnectionEnd::broken) {
      (*holding)->awaits_reconnect = true;
    }
  }
  tell(ConnectionEnded{report.segment_id, report.connection_id, report.end});
  return {};
}

Result<Holding*> Worker::find(std::uint32_t segment) {
  const auto found = holdings_.find(segment);
  if (found == holdings_.end()) return fail(fmt::format("no segment {}", segment));
  return &found->second;
}

Result<Answer> Worker::handle(const Start& start, std::vector<UniqueFd>) {
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

Result<void> Worker::hold(std::uint32_t id, std::unique_ptr<Store> store, UniqueFd store_fd,
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

Result<Answer> Worker::handle(const Create& create, std::vector<UniqueFd> fds) {
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

Result<Answer> Worker::handle(const Import& import, std::vector<UniqueFd> fds) {
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

Result<Answer> Worker::handle(const Connect& connect, std::vector<UniqueFd> fds) {
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

Result<void> Worker::drop_connections(Holding& holding) {
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

Result<Answer> Worker::handle(const Remove& remove, std::vector<UniqueFd>) {
  const auto holding = find(remove.segment);
  if (!holding) return std::unexpected(holding.error());
  if (auto result = drop_connections(**holding); !result) return std::unexpected(result.error());
  const auto scrubbed = (*holding)->segment.store->scrub();
  holdings_.erase(remove.segment);
  if (!scrubbed) return std::unexpected(scrubbed.error());
  return Answer{Done{}};
}

Result<Answer> Worker::handle(const Describe& describe, std::vector<UniqueFd>) {
  description_ = describe.text;
  return Answer{Done{}};
}

Result<Answer> Worker::handle(const Adopt&, std::vector<UniqueFd>) {
  Adopted adopted{.description = description_, .state = state_, .segments = {}};
  for (const auto& [id, holding] : holdings_) {
    auto& segment = adopted.segments.emplace_back(id);
    for (const auto& [connection, thread] : holding.connected) {
      segment.connections.push_back({connection, thread});
    }
  }
  return Answer{std::move(adopted)};
}

Result<Answer> Worker::handle(const HandOver& hand_over, std::vector<UniqueFd>) {
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
Result<Answer> Worker::handle(const Replace& replace, std::vector<UniqueFd>) {
  if (!engine_) return fail("not started");
  return std::unexpected(
      replace_process(replace.program, WorkerEvent::replaced, kLoadedPauseLimit));
}

// Takes the store device again, over what is held. Nothing to do while it serves or is fresh.
Result<void> Worker::wake() {
  if (engine_ || state_ == WorkerState::fresh) return {};
  if (state_ == WorkerState::dozing) enter(WorkerEvent::called);
  auto engine = Engine::start(start_, report_write_.get(), options_.hardened);
  if (!engine) return std::unexpected(engine.error());
  engine_ = *std::move(engine);
  for (auto& [id, holding] : holdings_) {
    if (auto result = import_held(holding); !result) return result;
  }
  for (auto& [id, holding] : holdings_) {
    for (auto& parked : std::exchange(holding.parked, {})) {
      auto served =
          engine_->serve(holding.segment, {parked.id, parked.thread}, std::move(parked.socket));
      if (!served) return served;
    }
  }
  served_ = 0;
  last_request_ = Clock::now();
  enter(WorkerEvent::woken);
  if (std::exchange(owes_answer_, false)) tell(Done{});
  return {};
}

Result<void> Worker::import_held(Holding& holding) {
  auto copy = duplicate(holding.store);
  if (!copy) return std::unexpected(copy.error());
  auto store = engine_->device().import(*std::move(copy), holding.size_bytes);
  if (!store) return std::unexpected(store.error());
  auto pages = PageMap::map(holding.page_map.get(), holding.size_bytes / transmission::kPageBytes);
  if (!pages) return std::unexpected(pages.error());
  holding.segment.store = *std::move(store);
  holding.segment.pages = *std::move(pages);
  return {};
}

void Worker::tick() {
  end_if_hung();
  const auto now = Clock::now();
  if (const auto served = engine_->requests_served(); served != served_) {
    served_ = served;
    last_request_ = now;
  }
  if (start_.doze_after.count() == 0 || now - last_request_ < start_.doze_after) return;
  if (holdings_.empty()) return;
  const Error error = replace_process(kThisProgram, WorkerEvent::went_idle, kIdlePauseLimit);
  log_error(error.message);
  last_request_ = now;
}

// The kernel sends again to the next worker what this one had received.
void Worker::end_if_hung() const {
  const auto since = engine_->in_store_since();
  if (!since || Clock::now() - *since < start_.hang_timeout) return;
  log_error(fmt::format("a copy has not ended within {} s: the worker ends, for another to follow",
                        start_.hang_timeout.count()));
  std::_Exit(kExitStoreHung);
}

// What a new process is given; the engine, if there is one, is paused. Its sockets are lent.
WorkerImage Worker::image(WorkerState state) {
  WorkerImage image{.state = state,
                    .owes_answer = state == WorkerState::waking,
                    .start = start_,
                    .description = description_,
                    .channel = std::move(channel_),
                    .listener = std::move(listener_),
                    .segments = {}};
  for (auto& [id, holding] : holdings_) {
    WorkerImage::Segment segment{.id = id,
                                 .size_bytes = holding.size_bytes,
                                 .page_map = std::move(holding.page_map),
                                 .store = std::move(holding.store),
                                 .awaits_reconnect = holding.awaits_reconnect,
                                 .connections = {}};
    for (const auto& parked : engine_->connections()) {
      if (parked.segment_id != id) continue;
      segment.connections.push_back({parked.connection_id,
                                     holding.connected.at(parked.connection_id),
                                     UniqueFd(parked.socket)});
    }
    image.segments.push_back(std::move(segment));
  }
  return image;
}

// Returns only if it could not be done; the worker then serves as before.
Error Worker::replace_process(const std::string& program, WorkerEvent event,
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
  WorkerImage given = image(*next_state(state_, event));
  const Error error = exec_image(given, program, options_.arguments);
  channel_ = std::move(given.channel);
  listener_ = std::move(given.listener);
  for (auto& segment : given.segments) {
    Holding& holding = holdings_[segment.id];
    holding.page_map = std::move(segment.page_map);
    holding.store = std::move(segment.store);
    for (auto& connection : segment.connections) (void)connection.socket.release();  // the thread's
  }
  (void)engine_->resume();
  return error;
}

}  // namespace

int run_worker(int channel, int image, WorkerOptions options) {
  prctl(PR_SET_NAME, "vramswap-worker");  // it was exec'd as /proc/self/exe
  // It ends when the supervisor says so; a terminal's Ctrl-C or a stop of the whole control group
  // is the supervisor's to handle.
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) std::signal(signal, SIG_IGN);
  // Before CUDA is loaded, so that its memory is locked and its threads inherit IO_FLUSHER.
  if (options.hardened) {
    if (auto hardened = harden_process(); !hardened) {
      (void)send_packet(channel, encode(Message{Failed{hardened.error().message}}));
      log_error(hardened.error().message);
      return 1;
    }
  }
  const auto run = [&]() -> Result<void> {
    if (image < 0) {
      UniqueFd owned(channel);
      fcntl(channel, F_SETFD, FD_CLOEXEC);
      return Worker(std::move(owned), std::move(options)).run();
    }
    auto received = receive_image(UniqueFd(image));
    if (!received) return std::unexpected(received.error());
    return Worker(*std::move(received), std::move(options)).run();
  };
  if (auto result = run(); !result) {
    log_error(result.error().message);
    return 1;
  }
  return 0;
}

}  // namespace vramswap
