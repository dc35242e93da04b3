// The context of a simulated worker: it takes room on the card, which other programs may have
// filled.
#include "tests/simulation/worker.hpp"
#include "tests/simulation/world.hpp"

namespace vramswap::simulation {
namespace {

using namespace std::chrono_literals;

constexpr std::chrono::nanoseconds kMemoryPoll = 5ms;
constexpr std::uint64_t kContextBytes = 512 << 20;
// How long a worker tries to make its context after it gave the reserve up.
constexpr std::chrono::nanoseconds kRoomTimeout = 5s;

}  // namespace

// It takes memory, which may not be there.
void SimWorker::begin_start(const messages::Start& request, std::vector<UniqueFd> fds) {
  for (const auto& other : world_.workers.living()) {
    const bool is_same_card = other->start.gpu == request.gpu;
    if (other.get() != this && is_same_card && !other->segments.empty()) {
      world_.violate(fmt::format("worker {} starts beside worker {}", pid, other->pid));
    }
  }
  start = request;
  if (request.has_context_reserve && !fds.empty()) reserve_ = std::move(fds.back());
  if (request.leaves_card) give_up_reserve();
  is_starting_ = true;
  world_.memory.workers_bytes += kWorkerBytes;
  const auto attempt = [self = shared_from_this()](const auto& again) -> void {
    World& world = self->world_;
    if (!self->is_alive) return;
    if (world.memory.available() == 0 || self->is_stopped()) {
      world.after(kMemoryPoll, [again] { again(again); });
      return;
    }
    const auto room = self->has_room_for_context();
    if (room && !*room) {
      world.after(kMemoryPoll, [again] { again(again); });
      return;
    }
    if (!room) {
      self->tell(messages::Failed{room.error().message});
      return self->die("there is no room for its context");
    }
    self->is_starting_ = false;
    self->has_started = true;
    self->world_.workers.listen(self->start.rendezvous, self);
    self->handle(self->start, {});
    self->wake_up();
  };
  world_.after(world_.some_latency() * 20, [attempt] { attempt(attempt); });
}

std::string SimWorker::card_uuid() const {
  if (start.backend == control::Backend::ram) return "";
  return start.gpu.starts_with("GPU-") ? start.gpu : "GPU-" + start.gpu;
}

std::uint64_t SimWorker::context_bytes() const {
  return start.backend == control::Backend::ram ? 0 : kContextBytes;
}

// Other programs leave when they have all that was set aside: a worker that was lost without it
// comes back then.
bool SimWorker::is_card_full() const {
  if (world_.card.full_until <= world_.now()) return false;
  return !world_.is_quiet || world_.stores.is_reserve_held(card_uuid());
}

// An error: there is none, and there will be none. False: there may be in a moment.
Result<bool> SimWorker::has_room_for_context() {
  if (context_bytes() == 0 || start.leaves_card || !is_card_full()) return true;
  if (reserve_) {
    reserve_store_ = world_.stores.find(reserve_.get());
    gave_up_at_ = world_.now();
    give_up_reserve();
  }
  if (!reserve_store_) return fail("the card is full");
  if (reserve_store_->is_freed()) return true;
  if (world_.now() - gave_up_at_ > kRoomTimeout) return fail("the card is full still");
  return false;
}

void SimWorker::give_up_reserve() {
  if (!reserve_) return;
  world_.note("worker {}: gives the reserve up", pid);
  reserve_.reset();
  tell(messages::ContextReserve{});
}

// Of a worker that had left the card.
Result<void> SimWorker::ensure_context() {
  if (has_context_ || context_bytes() == 0) return {};
  if (world_.card.away_until > world_.now()) return fail("there is no card");
  if (is_card_full()) return fail("the card is full");
  world_.note("worker {}: makes a context again", pid);
  has_context_ = true;
  start.leaves_card = false;
  make_context_reserve();
  return {};
}

void SimWorker::make_context_reserve() {
  if (reserve_ || context_bytes() == 0 || is_card_full()) return;
  auto [store, fd] = world_.stores.create(0, {});
  store->reserve_of = card_uuid();
  reserve_ = std::move(fd);
  tell_of_context_reserve();
}

void SimWorker::tell_of_context_reserve() {
  if (!reserve_) return;
  std::vector<UniqueFd> fds;
  fds.push_back(reserve_.duplicate());
  tell(messages::ContextReserve{}, std::move(fds));
}

}  // namespace vramswap::simulation
