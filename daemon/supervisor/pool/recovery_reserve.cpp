#include "daemon/supervisor/pool/recovery_reserve.hpp"

#include "daemon/system/log.hpp"

namespace vramswap {
namespace {

// Between two megabytes that are set aside again, so that kswapd keeps up.
constexpr std::chrono::milliseconds kFillInterval{5};
// Between two parts of the reserve that are given up for a worker that starts.
constexpr std::chrono::milliseconds kReleaseInterval{2};
// A start that takes longer gets memory also where the machine does not seem to be short of it.
constexpr std::chrono::milliseconds kUnhelpedTime{200};
// A worker that has not got its memory by then will not get it by waiting. A start takes half a
// second, and a few seconds on a card that sleeps.
constexpr std::chrono::seconds kStarvedTime{10};

}  // namespace

void RecoveryReserve::set_worker_bytes(std::uint64_t worker_bytes) {
  if (is_kept_) memory_.set_size(worker_bytes + worker_bytes / 8);
}

Result<void> RecoveryReserve::fill() {
  while (!memory_.is_full()) {
    if (auto result = memory_.fill_step(); !result) return result;
  }
  return {};
}

void RecoveryReserve::refill() {
  if (!is_filling_) asio::co_spawn(machine_.io, fill_in_steps(), asio::detached);
  is_filling_ = true;
}

void RecoveryReserve::release() {
  memory_.release();
  memory_.set_size(0);
}

awaitable<void> RecoveryReserve::fill_in_steps() {
  co_await machine_.clock.sleep(kFillInterval);  // the recovery that asks for it is over then
  while (!memory_.is_full() && starts_.is_empty() && recoveries_.is_empty()) {
    if (const auto result = memory_.fill_step(); !result) log_error(result.error().message);
    co_await machine_.clock.sleep(kFillInterval);
  }
  is_filling_ = false;
}

Gate::Pass RecoveryReserve::begin_start() {
  auto pass = *starts_.enter();
  if (!is_giving_up_) asio::co_spawn(machine_.io, give_up_in_steps(), asio::detached);
  is_giving_up_ = true;
  return pass;
}

// Bit by bit: what is left is there for the next worker, should this one die as well.
awaitable<void> RecoveryReserve::give_up_in_steps() {
  for (const auto began = machine_.clock.now(); !starts_.is_empty();
       co_await machine_.clock.sleep(kReleaseInterval)) {
    const auto memory = machine_.swap.memory();
    const bool is_short = !memory || memory->available_bytes < memory_.size_bytes();
    if (is_short || machine_.clock.now() - began > kUnhelpedTime) memory_.release_step();
  }
  is_giving_up_ = false;
}

std::shared_ptr<Gate::Pass> RecoveryReserve::begin_recovery() {
  auto recovery = std::make_shared<Gate::Pass>(*recoveries_.enter());
  asio::co_spawn(machine_.io, call_oom_killer_if_starved(recovery), asio::detached);
  return recovery;
}

// Where workers die one after the other, on a machine without memory, the reserve may not be there
// again when it is needed. Then everything waits for the device, and the device for memory.
awaitable<void> RecoveryReserve::call_oom_killer_if_starved(std::weak_ptr<Gate::Pass> recovery) {
  while (co_await machine_.clock.sleep(kStarvedTime), !recovery.expired()) {
    const auto memory = machine_.swap.memory();
    if (!memory || memory->available_bytes >= memory_.size_bytes()) continue;
    const auto called = machine_.swap.call_oom_killer();
    log_error(called ? "no memory for a worker: called the kernel's OOM killer, which could not act"
                     : called.error().message);
  }
}

}  // namespace vramswap
