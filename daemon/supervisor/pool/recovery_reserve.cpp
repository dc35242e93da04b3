#include "daemon/supervisor/pool/recovery_reserve.hpp"

#include "daemon/supervisor/spawn.hpp"
#include "daemon/system/log.hpp"

namespace vramswap {
namespace {

// Between two megabytes that are set aside again, so that kswapd keeps up.
constexpr std::chrono::milliseconds kFillInterval{5};
// Between two parts of the reserve that are given up for a worker that starts.
constexpr std::chrono::milliseconds kReleaseInterval{2};
// A start that takes longer gets memory also where the machine does not seem to be short of it.
constexpr std::chrono::milliseconds kUnhelpedTime{200};

}  // namespace

void RecoveryReserve::set_worker_bytes(std::uint64_t worker_bytes) {
  if (is_kept_) memory_.set_size(worker_bytes + worker_bytes / 8);
}

awaitable<Result<void>> RecoveryReserve::fill() {
  while (!memory_.is_full()) {
    if (auto result = co_await memory_.fill_step(); !result) co_return result;
  }
  co_return Result<void>{};
}

void RecoveryReserve::refill() {
  if (!is_filling_) spawn(machine_.io, fill_in_steps());
  is_filling_ = true;
}

void RecoveryReserve::release() {
  memory_.release();
  memory_.set_size(0);
}

awaitable<void> RecoveryReserve::fill_in_steps() {
  co_await machine_.clock.sleep(kFillInterval);  // the recovery that asks for it is over then
  while (!memory_.is_full() && starts_.is_empty() && recoveries_.is_empty()) {
    if (const auto result = co_await memory_.fill_step(); !result) {
      log_error(result.error().message);
    }
    co_await machine_.clock.sleep(kFillInterval);
  }
  is_filling_ = false;
}

bool RecoveryReserve::is_memory_short() const {
  const auto memory = machine_.swap.memory();
  return !memory || memory->available_bytes < memory_.size_bytes();
}

Gate::Pass RecoveryReserve::begin_start() {
  auto pass = *starts_.enter();
  // Making a process takes memory, too.
  if (is_memory_short()) memory_.release_step();
  if (!is_giving_up_) {
    machine_.last_resort.begin(memory_.size_bytes());
    spawn(machine_.io, give_up_in_steps());
  }
  is_giving_up_ = true;
  return pass;
}

// Bit by bit: what is left is there for the next worker, should this one die as well.
awaitable<void> RecoveryReserve::give_up_in_steps() {
  const auto began = machine_.clock.now();
  while (!memory_.is_empty()) {
    co_await machine_.clock.sleep(kReleaseInterval);
    if (starts_.is_empty()) break;
    if (is_memory_short() || machine_.clock.now() - began > kUnhelpedTime) memory_.release_step();
  }
  co_await starts_.wait_until_empty();
  machine_.last_resort.end();
  is_giving_up_ = false;
}

}  // namespace vramswap
