// What a slot asks its worker from time to time: whether it has the connections that it should
// have, and whether it is alive.
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "daemon/supervisor/pool/segment.hpp"
#include "daemon/supervisor/pool/worker_slot.hpp"
#include "daemon/system/log.hpp"

namespace vramswap {
namespace {

// Between two comparisons of the connections with what the worker says.
constexpr std::chrono::seconds kCompareInterval{10};
constexpr std::chrono::seconds kCompareTimeout{60};
// Between two looks for a sign of life.
constexpr std::chrono::seconds kLookInterval{5};

}  // namespace

// The report of a connection's end, or of a lost page, may itself be lost: with the supervisor
// before this one, for example.
awaitable<void> WorkerSlot::compare_connections(Machine& machine, std::weak_ptr<WorkerSlot*> slot) {
  for (;;) {
    co_await machine.clock.sleep(kCompareInterval);
    std::shared_ptr<WorkerProcess> worker;
    if (const auto self = slot.lock()) {
      if (!(*self)->is_serving() || !(*self)->is_needed()) continue;
      (*self)->look_around();
      worker = (*self)->worker_;
    } else {
      co_return;
    }
    const messages::Adopt question;
    const auto answer = co_await worker->ask(question, {}, kCompareTimeout);
    const auto self = slot.lock();
    if (!self) co_return;
    if ((*self)->worker_ != worker || !(*self)->is_serving()) continue;
    // It hears nobody any more. The supervisor holds its memory.
    if (!answer && answer.error().code == ECONNRESET) worker->kill();
    const auto* open = answer ? std::get_if<messages::Adopted>(&answer->message) : nullptr;
    if (open == nullptr) continue;
    const auto areas = machine.swap.areas();
    for (Segment* segment : (*self)->segments_) {
      segment->compare_connections(*open);
      segment->update_lost_pages();
      if (areas) segment->compare_swap(*areas);
    }
    (*self)->publisher_.show();
  }
}

awaitable<void> WorkerSlot::watch_for_silence(Machine& machine, std::weak_ptr<WorkerSlot*> slot) {
  for (;;) {
    co_await machine.clock.sleep(kLookInterval);
    const auto self = slot.lock();
    if (!self) co_return;
    (*self)->look_for_sign_of_life();
  }
}

// Looks are counted, not time: when the whole machine was asleep, or this process stood still, the
// worker had no time to answer either, and the look that comes late is only one.
void WorkerSlot::look_for_sign_of_life() {
  if (!is_running() || is_dismissed_) return;
  const bool is_heard =
      std::exchange(heard_before_, worker_->messages_heard()) != worker_->messages_heard();
  if (is_heard || worker_->is_at_long_work()) {
    silent_looks_ = 0;
  } else if (worker_->owes_sign_of_life()) {
    ++silent_looks_;
  }
  worker_->ping();
  // The silence began up to an interval before the look that counts as none.
  const auto limit = known_.start.hang_timeout;
  // A look may have come late, so one says nothing.
  if (silent_looks_ < 2 || silent_looks_ * kLookInterval < limit) return;
  if (!std::ranges::all_of(segments_, &Segment::survives_worker)) return;
  log_error(
      fmt::format("worker {} of {}: no sign of life for {} s: killing it to start another one",
                  worker_->pid(), known_.info.name, limit.count()));
  worker_->kill();
  silent_looks_ = 0;
}

}  // namespace vramswap
