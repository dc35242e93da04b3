#include "tests/simulation/worker.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>

#include "daemon/base/page_size.hpp"
#include "tests/simulation/process.hpp"
#include "tests/simulation/world.hpp"

namespace vramswap::simulation {
namespace {

using namespace messages;
using namespace std::chrono_literals;

const char* name_of(const Request& request) {
  constexpr const char* kNames[] = {"Start",       "Create",      "Import",      "Connect",
                                    "Remove",      "Describe",    "Adopt",       "HandOver",
                                    "Replace",     "ReportStats", "ShareDriver", "Ping",
                                    "PrepareMove", "FinishMove",  "AbandonMove"};
  return request.index() < std::size(kNames) ? kNames[request.index()] : "?";
}

bool moves(const Request& request) {
  return std::holds_alternative<PrepareMove>(request) ||
         std::holds_alternative<FinishMove>(request) ||
         std::holds_alternative<AbandonMove>(request) || std::holds_alternative<Replace>(request);
}

}  // namespace

void SimWorker::die(const char* why) {
  if (!is_alive) return;
  world_.note("worker {}: dies: {}", pid, why);
  is_alive = false;
  world_.workers.note_death(world_.now());
  for (const auto& [id, segment] : segments) {
    // Whether that may be the end of the memory is known only now.
    if (segment.store) world_.may_be_freed(*segment.store);
  }
  if (is_starting_ || has_started) world_.memory.workers_bytes -= kWorkerBytes;
  world_.kernel.on_worker_end(*this);
  segments.clear();
  reserve_.reset();
  for (const auto& unsent : unsent_) {
    if (const auto packet = unsent.lock()) *packet = {};
  }
  const Process* process = world_.process();
  const bool is_heard = process != nullptr && process->is_alive() &&
                        (process->is_ready() || process->has_heard_of_pool());
  if (!is_heard) world_.give_up_forgotten_pool();
  callers_.clear();
  channel_.reset();
  world_.after(world_.some_latency(), [channels = std::exchange(channels_, {})] {
    for (const auto& channel : channels) {
      channel->to_worker.clear();
      channel->is_open_to_supervisor = false;
      channel->on_packet();
    }
  });
}

void SimWorker::wake_up() {
  if (is_turn_due_ || !is_alive) return;
  is_turn_due_ = true;
  const auto when = std::max({world_.now() + world_.some_latency(), stopped_until_, busy_until_});
  world_.at(when, [self = shared_from_this()] {
    self->is_turn_due_ = false;
    self->take_turn();
  });
}

// Now, and not when it would have gone on by itself.
void SimWorker::go_on() {
  if (!is_stopped()) return;
  stopped_until_ = {};
  is_turn_due_ = false;
  wake_up();
}

void SimWorker::connect(std::shared_ptr<SimChannel> channel) {
  channels_.push_back(channel);
  callers_.push_back(std::move(channel));
  wake_up();
}

void SimWorker::cut_channel() {
  if (!channel_) return;
  world_.note("worker {}: its channel is cut", pid);
  channel_->is_open_to_supervisor = false;
  channel_->on_packet();
  on_channel_end();
}

void SimWorker::take_turn() {
  if (!is_alive) return;
  if (is_stopped() || busy_until_ > world_.now()) return wake_up();
  if (is_starting_) return;
  if (!channel_ && !callers_.empty()) {
    channel_ = callers_.front();
    callers_.pop_front();
    tell_of_context_reserve();
  }
  if (!channel_) return;
  if (channel_->to_worker.empty()) {
    if (!channel_->is_open_to_worker) on_channel_end();
    return;
  }
  Packet packet = std::move(channel_->to_worker.front());
  channel_->to_worker.pop_front();
  auto request = decode_request(packet.text);
  if (!request) return tell(Failed{request.error().message, request.error().code});
  fault_.reset();
  // To those that may come beside another request, a worker never answers with an error.
  const bool may_fail =
      !std::holds_alternative<Ping>(*request) && !std::holds_alternative<ReportStats>(*request);
  if (may_fail) fault_ = std::exchange(world_.faults.message, {});
  if (moves(*request) && !fault_) fault_ = std::exchange(world_.faults.move, {});
  world_.note("worker {}: {}", pid, name_of(*request));
  if (fault_ && fault_->kind == MessageFault::Kind::stops) {
    channel_->to_worker.push_front(std::move(packet));
    return stop_for(fault_->time);
  }
  if (fault_ && fault_->kind == MessageFault::Kind::dies_before) return die("before a message");
  const bool is_late = !channel_->is_open_to_worker && std::holds_alternative<Start>(*request);
  if (is_late) return die("its supervisor is gone");
  if (const auto* given = std::get_if<Start>(&*request)) {
    begin_start(*given, std::move(packet.fds));
  } else {
    handle(*request, std::move(packet.fds));
  }
  wake_up();
}

void SimWorker::handle(const Request& request, std::vector<UniqueFd> fds) {
  std::vector<UniqueFd> answer_fds;
  using Kind = MessageFault::Kind;
  const auto goes_wrong = [&](Kind kind) { return fault_ && fault_->kind == kind; };
  if (goes_wrong(Kind::error)) {
    fail_to(request);
    return tell(Failed{"ordered to fail", 0});
  }
  auto message = answer(request, std::move(fds), answer_fds);
  if (!is_alive) return;
  if (goes_wrong(Kind::dies_in)) return die("in a message");
  if (goes_wrong(Kind::late)) {
    busy_until_ = world_.now() + fault_->time;
    world_.note("worker {}: answers after {} ms", pid, fault_->time.count() / 1'000'000);
  }
  if (goes_wrong(Kind::wrong)) {
    message = std::holds_alternative<Done>(message) ? Message(Started{}) : Message(Done{});
    answer_fds.clear();
  }
  tell(message, std::move(answer_fds));
  if (goes_wrong(Kind::dies_after)) die("after a message");
}

Message SimWorker::answer(const Request& request, std::vector<UniqueFd> fds,
                          std::vector<UniqueFd>& answer_fds) {
  if (std::holds_alternative<Start>(request)) {
    if (start.leaves_card) return Started{};
    if (world_.card.away_until > world_.now()) return Failed{"there is no card", ENODEV};
    const bool is_ram = start.backend == control::Backend::ram;
    has_context_ = !is_ram;
    make_context_reserve();
    return Started{{.name = is_ram ? "ram" : "card",
                    .uuid = card_uuid(),
                    .free_bytes = 1 << 30,
                    .total_bytes = 1 << 30,
                    .granularity_bytes = kPageBytes,
                    .context_bytes = context_bytes()}};
  }
  if (!has_started) return Failed{"not started"};
  if (const auto* given = std::get_if<Create>(&request)) {
    return create(*given, std::move(fds), answer_fds);
  }
  if (const auto* given = std::get_if<Import>(&request)) return import(*given, std::move(fds));
  if (const auto* given = std::get_if<Connect>(&request)) {
    return connect_segment(*given, std::move(fds));
  }
  if (const auto* given = std::get_if<Remove>(&request)) return remove(*given);
  if (const auto* given = std::get_if<PrepareMove>(&request)) {
    return prepare_move(*given, answer_fds);
  }
  if (const auto* given = std::get_if<FinishMove>(&request)) return finish_move(*given);
  if (const auto* abandon = std::get_if<AbandonMove>(&request)) {
    const auto segment = segments.find(abandon->segment);
    if (segment == segments.end()) return Failed{"no such segment"};
    segment->second.next.reset();
  }
  if (const auto* replace = std::get_if<Replace>(&request)) {
    for (auto& [id, segment] : segments) segment.next.reset();
    if (replace->leaves_card) leave_card();
  }
  if (const auto* describe = std::get_if<Describe>(&request)) description_ = describe->text;
  if (const auto* hand_over = std::get_if<HandOver>(&request)) {
    const auto segment = segments.find(hand_over->segment);
    if (segment == segments.end()) return Failed{"no such segment"};
    answer_fds.push_back(segment->second.page_map_fd.duplicate());
    answer_fds.push_back(segment->second.store_fd.duplicate());
  }
  if (std::holds_alternative<Adopt>(request)) {
    Adopted adopted{.description = description_, .state = WorkerState::serving, .segments = {}};
    for (const auto& [id, segment] : segments) {
      auto& held = adopted.segments.emplace_back(id);
      for (const auto& [name, connection] : segment.connections) {
        held.connections.push_back({name, connection.thread});
      }
    }
    return adopted;
  }
  if (std::holds_alternative<ReportStats>(request)) return Stats{};
  if (std::holds_alternative<Ping>(request)) return Alive{};
  if (std::holds_alternative<ShareDriver>(request)) {
    answer_fds.push_back(UniqueFd(open("/dev/null", O_RDONLY | O_CLOEXEC)));
    return Driver{"/dev/null", false};
  }
  return Done{};
}

Message SimWorker::connect_segment(const Connect& request, std::vector<UniqueFd> fds) {
  const auto segment = segments.find(request.segment);
  if (segment == segments.end()) return Failed{"no such segment"};
  if (fds.size() != request.connections.size()) return Failed{"too few descriptors"};
  for (std::size_t i = 0; i < fds.size(); ++i) {
    const auto& name = request.connections[i];
    const std::uint64_t pair = world_.kernel.pair_of(fds[i].get());
    segment->second.connections[name.id] = {name.thread, pair, std::move(fds[i])};
  }
  segment->second.awaits_reconnect = false;
  world_.kernel.note_sockets_changed();
  return Done{};
}

void SimWorker::tell(const Message& message, std::vector<UniqueFd> fds) {
  if (!channel_ || !channel_->is_open_to_worker) return;
  const auto when =
      std::max({world_.now() + world_.some_latency(), channel_->last_delivery, busy_until_});
  channel_->last_delivery = when;
  // Shared, for std::function copies.
  auto packet = std::make_shared<Packet>(encode(message), std::move(fds));
  if (busy_until_ <= world_.now()) unsent_.clear();
  if (busy_until_ > world_.now()) unsent_.push_back(packet);
  world_.at(when, [channel = channel_, packet] {
    if (!channel->is_open_to_worker || packet->text.empty()) return;
    channel->to_supervisor.push_back(std::move(*packet));
    channel->on_packet();
  });
}

void SimWorker::tell_of_lost_pages(const HeldSegment& segment) {
  for (const auto& [id, held] : segments) {
    if (&held == &segment) tell(messages::LostPagesChanged{id});
  }
}

// The supervisor is gone, or says that the worker is not needed.
void SimWorker::on_channel_end() {
  channel_.reset();
  if (!callers_.empty()) return wake_up();
  if (is_needed()) return;
  world_.workers.remove_socket(start.rendezvous);
  die("nobody needs it");
}

bool SimWorker::is_needed() const {
  return std::ranges::any_of(segments, [](const auto& known) {
    return !known.second.connections.empty() || known.second.awaits_reconnect;
  });
}

// It serves no device yet.
bool SimWorker::is_being_set_up() const {
  return is_alive && std::ranges::all_of(segments, [](const auto& known) {
           return known.second.connections.empty();
         });
}

HeldSegment* SimWorker::segment_of(std::uint64_t pair) {
  for (auto& [id, segment] : segments) {
    for (const auto& [name, connection] : segment.connections) {
      if (connection.pair == pair) return &segment;
    }
  }
  return nullptr;
}

void SimWorker::on_socket_end(std::uint64_t pair, ConnectionEnd end) {
  if (!is_alive) return;
  if (is_stopped()) {
    world_.at(stopped_until_ + world_.some_latency(),
              [self = shared_from_this(), pair, end] { self->on_socket_end(pair, end); });
    return;
  }
  for (auto& [id, segment] : segments) {
    for (const auto& [name, connection] : segment.connections) {
      if (connection.pair != pair) continue;
      const ConnectionEnded ended{id, name, end};
      segment.connections.erase(name);
      segment.awaits_reconnect = end == ConnectionEnd::hung_up;
      tell(ended);
      if (!channel_ && callers_.empty() && !is_needed()) die("its device is gone");
      return;
    }
  }
}

}  // namespace vramswap::simulation
