// The part of Pool that lends VRAM and takes it back.
#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "daemon/control/size.hpp"
#include "daemon/supervisor/pool/pool.hpp"
#include "daemon/supervisor/pool/swap_off_fit.hpp"
#include "daemon/supervisor/spawn.hpp"
#include "daemon/system/log.hpp"

namespace vramswap {
namespace {

using control::format_bytes;

// Of the memory that is available, so much stays so when a segment moves there.
std::uint64_t host_margin(const MemoryInfo& memory) {
  return std::max<std::uint64_t>(memory.total_bytes / 32, 64 << 20);
}

// How long a round waits for a worker that has died, how often it looks, and for how many.
constexpr std::chrono::seconds kWorkerTime{20};
constexpr std::chrono::milliseconds kWorkerInterval{50};
constexpr unsigned kLostWorkers = 3;
// Between attempts to take VRAM again that another program still has: a pause that doubles.
constexpr std::chrono::seconds kFirstReturnPause{1};
constexpr std::chrono::seconds kLongestReturnPause{10};
// A client whose supervisor has died asks the next one for its loan within this time.
constexpr std::chrono::seconds kClientsReturn{15};

}  // namespace

Segment& Pool::segment_of(const WorkerSlot& slot, std::size_t index) const {
  for (const auto& segment : parts_.segments) {
    if (&segment->slot() == &slot && index-- == 0) return *segment;
  }
  return *parts_.segments.back();
}

LoanCard Pool::loan_card(const WorkerSlot& slot, const std::set<std::uint32_t>& excluded) const {
  const auto areas = machine_.swap.areas();
  return vramswap::loan_card(parts_, slot, areas ? *areas : std::vector<SwapArea>{}, excluded);
}

std::uint64_t Pool::lent_bytes() const {
  std::uint64_t sum = 0;
  for (const auto& slot : parts_.slots) {
    const LoanCard card = vramswap::loan_card(parts_, *slot);
    // The pool takes nothing of a card where it has no segment any more.
    if (!card.segments.empty()) sum += vramswap::lent_bytes(card);
  }
  return sum;
}

awaitable<Result<control::Lent>> Pool::lend(control::LendRequest request,
                                            std::shared_ptr<std::uint64_t> id,
                                            ProgressSink progress) {
  if (!is_up()) co_return fail("nothing is up");
  if (parts_.request.backend == control::Backend::ram) {
    co_return fail("the swap that is up is in host memory: there is no VRAM to lend");
  }
  if (is_busy() && !is_adjusting_) co_return fail("an up or down is in progress");
  *id = parts_.loans.add({.bytes = request.bytes,
                          .is_held = request.is_held,
                          .purpose = std::move(request.purpose),
                          .since = machine_.clock.wall_time()});
  LendRound round;
  round.progress = std::move(progress);
  if (request.wait) round.deadline = machine_.clock.now() + *request.wait;
  const auto operation = co_await operations_.enter_alone();
  if (!is_up()) co_return fail("the swap was taken down");
  is_adjusting_ = true;
  co_await publisher_.publish();
  for (const auto& slot : parts_.slots) co_await lend_of_card(*slot, round);
  co_await publisher_.publish();
  is_adjusting_ = false;  // an operation that finds it so, and others under way, is refused
  control::Lent lent{
      .freed_bytes = std::numeric_limits<std::uint64_t>::max(), .missing_bytes = 0, .problem = {}};
  for (const auto& slot : parts_.slots) {
    const LoanCard card = vramswap::loan_card(parts_, *slot);
    lent.freed_bytes = std::min(lent.freed_bytes, vramswap::lent_bytes(card));
    lent.missing_bytes = std::max(lent.missing_bytes, missing_bytes(card));
  }
  if (lent.missing_bytes > 0) {
    lent.problem = round.problem.empty() ? "the pool has no more VRAM" : round.problem;
  }
  log_info(fmt::format(
      "VRAM is lent: {} of each card{}", format_bytes(lent.freed_bytes),
      lent.missing_bytes == 0
          ? ""
          : fmt::format("; {} are missing: {}", format_bytes(lent.missing_bytes), lent.problem)));
  co_return lent;
}

awaitable<void> Pool::wait_for_worker(const WorkerSlot& slot) {
  const auto deadline = machine_.clock.now() + kWorkerTime;
  while (!slot.is_serving() && machine_.clock.now() < deadline) {
    co_await machine_.clock.sleep(kWorkerInterval);
  }
}

// One step after the other, so that each sees what the one before has left.
awaitable<void> Pool::lend_of_card(WorkerSlot& slot, LendRound& round) {
  for (;;) {
    const LoanCard card = loan_card(slot, round.excluded);
    if (missing_bytes(card) == 0) co_return;
    const auto step = next_step(card);
    if (!step) co_return;
    if (round.deadline && machine_.clock.now() >= *round.deadline) {
      round.problem = "the time is over";
      co_return;
    }
    const auto taken = co_await take_step(slot, *step);
    if (!taken) round.problem = taken.error().message;
    // A worker that died in the step is replaced; the same step is tried again.
    const bool is_lost = !taken && !slot.is_serving() && ++round.lost_workers <= kLostWorkers;
    if (is_lost) co_await wait_for_worker(slot);
    if (is_lost) continue;
    if (!taken && step->kind == LoanStep::Kind::leave_card) co_return;
    if (!taken) round.excluded.insert(segment_of(slot, step->segment).id());
    if (round.progress) {
      const std::uint64_t lent = vramswap::lent_bytes(card);
      round.progress({slot.info().name, lent, lent + missing_bytes(card)});
    }
  }
}

awaitable<Result<void>> Pool::take_step(WorkerSlot& slot, const LoanStep& step) {
  if (step.kind == LoanStep::Kind::leave_card) co_return co_await slot.leave_card();
  Segment& segment = segment_of(slot, step.segment);
  if (step.kind == LoanStep::Kind::give_up) co_return co_await segment.lend();
  if (step.kind == LoanStep::Kind::move_out) co_return co_await move_out(segment);
  if (segment.is_lent() || segment.is_half_lent()) co_return co_await segment.take_back();
  co_return co_await segment.move_to(StorePlace::card);
}

// To host memory, where it has room; else to wherever the kernel finds room for its pages.
awaitable<Result<void>> Pool::move_out(Segment& segment) {
  const auto memory = machine_.swap.memory();
  if (!memory) co_return memory.error();
  if (memory->available_bytes >= segment.size_bytes() + host_margin(*memory)) {
    const auto moved = co_await segment.move_to(StorePlace::host);
    if (moved) co_return moved;
    log_error(fmt::format("{}: cannot be moved to host memory: {}", segment.path(),
                          moved.error().message));
  }
  const auto areas = machine_.swap.areas();
  if (!areas) co_return areas.error();
  const std::vector<std::string> ours{segment.path()};
  if (auto fits = co_await check_swap_off_fits(machine_.swap, *areas, ours); !fits) {
    // What it advises is for `down`.
    co_return fail(fits.error().message.substr(0, fits.error().message.find(';')));
  }
  co_return co_await segment.lend();
}

void Pool::return_loan(std::uint64_t id) {
  parts_.loans.remove(id);
  bring_back();
}

awaitable<Result<void>> Pool::take_back() {
  if (!is_up()) co_return fail("nothing is up");
  if (!parts_.loans.remove_unheld()) {
    co_return fail(
        "nothing is lent by 'vramswap lend'; what 'vramswap run' has is returned when its "
        "command ends");
  }
  bring_back();
  // The client is told that they have ended: the next supervisor must not lend again.
  co_await publisher_.publish();
  co_return Result<void>{};
}

void Pool::bring_back() {
  const bool is_ram = parts_.request.backend == control::Backend::ram;
  if (!is_up() || is_ram || !returning_.is_empty()) return;
  spawn(machine_.io, bring_back_until_done(*returning_.enter()));
}

// Another program may have the VRAM for long: what can come back does.
awaitable<void> Pool::bring_back_until_done([[maybe_unused]] Gate::Pass pass) {
  std::string problem;
  bool any_back = false;
  for (auto pause = kFirstReturnPause;;) {
    const auto outcome = co_await bring_back_some(problem);
    if (outcome == BringBack::is_done) break;
    if (outcome == BringBack::goes_on) {
      any_back = true;
      pause = kFirstReturnPause;
      continue;
    }
    co_await machine_.clock.sleep(pause);
    pause = std::min(pause * 2, kLongestReturnPause);
  }
  if (is_up() && any_back) log_info("the VRAM that was lent is back");
}

// A segment of each card. Others who wait for their turn come between two of these.
awaitable<Pool::BringBack> Pool::bring_back_some(std::string& problem) {
  const auto operation = co_await operations_.enter_alone();
  if (!operation || !is_up()) co_return BringBack::is_done;
  is_adjusting_ = true;
  bool any_left = false;
  bool any_done = false;
  for (const auto& slot : parts_.slots) {
    const auto step = next_step(loan_card(*slot, {}));
    if (!step || step->kind != LoanStep::Kind::bring_back) continue;
    any_left = true;
    const auto taken = co_await take_step(*slot, *step);
    any_done |= taken.has_value();
    if (!taken && taken.error().message != problem) {
      problem = taken.error().message;
      log_info(fmt::format("VRAM cannot be taken back yet: {}", problem));
    }
  }
  if (any_left) co_await publisher_.publish();
  is_adjusting_ = false;
  // Done without a wait since the last look: a loan that ended meanwhile would be nobody's to see.
  co_return !any_left ? BringBack::is_done : any_done ? BringBack::goes_on : BringBack::is_stuck;
}

// Their clients ask this supervisor for them again; until then the VRAM stays with them.
awaitable<void> Pool::forget_held_loans(std::vector<std::uint64_t> ids) {
  co_await machine_.clock.sleep(kClientsReturn);
  for (const std::uint64_t id : ids) parts_.loans.remove(id);
  bring_back();
}

}  // namespace vramswap
