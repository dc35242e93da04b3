// Workers that stand still, and how long the supervisor may put up with that.
#include <algorithm>

#include "tests/simulation/process.hpp"
#include "tests/simulation/worker.hpp"
#include "tests/simulation/world.hpp"

namespace vramswap::simulation {
namespace {

using namespace std::chrono_literals;

// The hang time-out of 10 s, 5 s, and a few seconds for the looks.
constexpr std::chrono::nanoseconds kLongestSilence = 25s;
// A request that may take long has a time-out of up to two minutes. It may have come in the last
// moment.
constexpr std::chrono::nanoseconds kLongestCall = 120s + kLongestSilence;

bool takes_long(const Packet& packet) {
  const auto request = messages::decode_request(packet.text);
  return request && (std::holds_alternative<messages::Start>(*request) ||
                     std::holds_alternative<messages::Create>(*request) ||
                     std::holds_alternative<messages::Import>(*request) ||
                     std::holds_alternative<messages::Remove>(*request) ||
                     std::holds_alternative<messages::PrepareMove>(*request) ||
                     std::holds_alternative<messages::FinishMove>(*request) ||
                     std::holds_alternative<messages::Replace>(*request));
}

}  // namespace

bool SimWorker::is_stopped() const {
  return stopped_until_ > world_.now();
}

bool SimWorker::was_silent() const {
  return !channel_ || std::max(silent_until_, busy_until_) + kLongestSilence > world_.now();
}

void SimWorker::stop_for(std::chrono::nanoseconds time) {
  world_.note("worker {}: stands still for {} ms", pid, time.count() / 1'000'000);
  stopped_until_ = world_.now() + time;
  silent_until_ = std::max(silent_until_, stopped_until_);
  world_.kernel.drop_slow_connections(*this);
  // An answer may be under way, and the next request comes after it.
  const std::chrono::nanoseconds answering = std::max(busy_until_ - world_.now(), 0ns);
  for (const auto limit : {kLongestSilence, kLongestCall}) {
    if (time <= limit + answering) continue;
    world_.after(limit + answering, [self = shared_from_this(), limit, until = stopped_until_] {
      if (self->stopped_until_ == until) self->check_silence(limit);
    });
  }
  wake_up();
}

// It is silent for so long. A supervisor that was there all the time, and that holds all its
// memory, has replaced it.
void SimWorker::check_silence(std::chrono::nanoseconds limit) {
  const Process* process = world_.process();
  const bool was_watched = process != nullptr && process->is_ready() &&
                           process->ready_since() <= world_.now() - limit && channel_ &&
                           channel_->is_open_to_worker && channel_->is_open_to_supervisor;
  if (!is_alive || !was_watched) return;
  for (const auto& [id, segment] : segments) {
    if (segment.store->given_to_process != process->number()) return;
  }
  const bool may_take_long = is_starting_ || busy_until_ > world_.now() - limit ||
                             std::ranges::any_of(channel_->to_worker, takes_long);
  if (may_take_long && limit < kLongestCall) return;
  world_.violate(fmt::format("worker {} is silent, and is not replaced", pid));
}

}  // namespace vramswap::simulation
