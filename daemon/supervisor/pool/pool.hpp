// The swap that is up: its segments, the workers that serve them, and the operations on all of it.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "daemon/control/protocol.hpp"
#include "daemon/supervisor/machine/machine.hpp"
#include "daemon/supervisor/pool/gate.hpp"
#include "daemon/supervisor/pool/pool_options.hpp"
#include "daemon/supervisor/pool/pool_parts.hpp"
#include "daemon/supervisor/pool/recovery_reserve.hpp"
#include "daemon/supervisor/pool/state_publisher.hpp"

namespace vramswap {

class Pool {
 public:
  using ProgressSink = std::function<void(const control::Progress&)>;

  Pool(Machine& machine, PoolOptions options);
  Pool(const Pool&) = delete;

  // Takes over what an earlier supervisor left: its workers, its devices, and the memory that
  // `inherited` holds. What carries swap is kept, what is half done is undone, and workers that
  // died with it are replaced; the last two go on after the return. While a worker does not answer,
  // this goes on asking. An error: something is there that this program cannot take over, and it is
  // left alone.
  awaitable<Result<void>> adopt(NamedFds inherited);
  // For the time of a reload: no other operation begins until the pass is gone. An error: one is
  // under way, or the pool is not whole.
  Result<Gate::Pass> begin_reload();
  // An error: a worker is dead or being replaced, so that nobody else holds the memory.
  Result<void> check_is_whole() const;
  // Workers have the memory of all devices.
  bool is_held_by_workers() const;
  // What the next supervisor, in this process after exec, is to inherit: all of it or an error.
  Result<NamedFds> handover_fds() const { return publisher_.handover_fds(); }
  // Has every worker become `program`, over the same memory, while the kernel waits.
  awaitable<Result<void>> replace_workers(std::string program);

  // Allocates, connects, formats and swaps on; undoes all of it if a step fails. What is up with
  // the same request, and somebody else has swapped off, is swapped on again.
  awaitable<Result<void>> up(control::UpRequest request);

  // Swaps off, disconnects, scrubs and frees. If a page does not come back, everything is up as
  // before. `force` skips the check whether the pages fit elsewhere, and loses those that are
  // behind a device that somebody else has disconnected.
  awaitable<Result<void>> down(bool force, ProgressSink progress);
  // Ends a `down` that is swapping off: it fails, and everything is up as before.
  void cancel_down();

  // Frees VRAM for others as far as all loans together want it, while the swap stays up. What could
  // not be freed is no error. `id` is set at once: return_loan() may be called before the end.
  awaitable<Result<control::Lent>> lend(control::LendRequest request,
                                        std::shared_ptr<std::uint64_t> id, ProgressSink progress);
  // Ends one loan, or those that no client holds: the VRAM is taken again in the background, for as
  // long as the card has no room for it.
  void return_loan(std::uint64_t id);
  awaitable<Result<void>> take_back();
  std::vector<control::Loan> loans() const { return parts_.loans.list(); }
  std::uint64_t lent_bytes() const;

  // Continues the workers that somebody has stopped.
  void resume_workers();

  // Has the service manager show this line, see StatePublisher::show_note.
  void show_note(std::string note) { publisher_.show_note(std::move(note)); }

  // What it was made of; nothing: nothing is up.
  const control::UpRequest* request() const { return is_up() ? &parts_.request : nullptr; }
  bool is_up() const { return !parts_.segments.empty(); }
  bool is_busy() const { return !operations_.is_empty(); }
  Result<std::vector<control::SegmentStatus>> segments() const {
    return segment_status(parts_, machine_.swap);
  }
  std::vector<control::WorkerStatus> workers() const { return worker_status(parts_); }
  // Gets the statistics of those workers that answer at once; workers() shows them.
  awaitable<void> refresh_stats() const { return vramswap::refresh_stats(parts_); }
  // What the identifiers of its devices begin with; empty while nothing is up.
  std::string identifier_prefix() const;

 private:
  awaitable<Result<Gate::Pass>> begin_operation();
  awaitable<Result<void>> bring_up();
  awaitable<Result<void>> swap_on_again();
  awaitable<Result<std::vector<StoreDeviceInfo>>> start_workers();
  awaitable<Result<void>> swap_off_all(bool force, const ProgressSink& progress);
  awaitable<Result<void>> swap_off_segments(bool force, const ProgressSink& progress);
  awaitable<void> note_going_down(bool is_going_down);
  awaitable<void> report_progress(ProgressSink progress, std::shared_ptr<const bool> is_over) const;
  awaitable<void> release_all();
  awaitable<void> drop_released();
  awaitable<Result<PoolParts>> find_parts(NamedFds inherited);
  awaitable<void> finish_adoption(Gate::Pass pass);
  void size_reserve();
  // What a round of lending has done and what kept it from doing more.
  struct LendRound {
    std::optional<Clock::TimePoint> deadline;
    ProgressSink progress;
    std::set<std::uint32_t> excluded;  // segments whose step failed
    std::string problem;
    unsigned lost_workers = 0;  // that died in a step
  };
  awaitable<void> wait_for_worker(const WorkerSlot& slot);
  awaitable<void> lend_of_card(WorkerSlot& slot, LendRound& round);
  awaitable<Result<void>> take_step(WorkerSlot& slot, const LoanStep& step);
  awaitable<Result<void>> move_out(Segment& segment);
  LoanCard loan_card(const WorkerSlot& slot, const std::set<std::uint32_t>& excluded) const;
  Segment& segment_of(const WorkerSlot& slot, std::size_t index) const;
  void bring_back();
  awaitable<void> bring_back_until_done(Gate::Pass pass);
  enum class BringBack { is_done, goes_on, is_stuck };
  awaitable<BringBack> bring_back_some(std::string& problem);
  awaitable<void> forget_held_loans(std::vector<std::uint64_t> ids);

  Machine& machine_;
  const PoolOptions options_;
  PoolParts parts_;
  RecoveryReserve reserve_;
  StatePublisher publisher_;
  Gate operations_;            // one at a time
  Gate returning_;             // in the background, of loans that have ended
  bool is_adjusting_ = false;  // the operation under way lends or takes back
  bool is_cancelled_ = false;
};

}  // namespace vramswap
