// The part of Segment that gives its VRAM to others: it moves to another store, or goes and comes
// back.
#include <fmt/format.h>

#include <cerrno>

#include "daemon/handover/page_map.hpp"
#include "daemon/supervisor/pool/segment.hpp"
#include "daemon/system/log.hpp"

namespace vramswap {
namespace {

// For a new store: the kernel may have to free the host memory first. A worker without a context
// makes one.
constexpr std::chrono::seconds kPrepareTimeout{120};
// To copy a store and to scrub it takes a second; longer, where a copy hangs.
constexpr std::chrono::seconds kFinishTimeout{60};

}  // namespace

awaitable<Result<void>> Segment::move_to(StorePlace place) {
  const auto pass = work_.enter();
  if (!pass) co_return fail(fmt::format("{}: it is being taken down", path()));
  if (next_) co_return fail(fmt::format("{}: another move of it is not settled yet", path()));
  if (!slot_.is_serving() || !is_in_worker_ || !page_map_ || !store_) {
    co_return fail(fmt::format("{}: no worker serves it now", path()));
  }
  const StoreId target{store_id_.serial + 1, place};
  if (place == StorePlace::card) slot_.note_use_of_card();
  const messages::PrepareMove prepare{known_.id, target};
  auto prepared = co_await slot_.call(prepare, {}, kPrepareTimeout);
  if (prepared && prepared->fds.size() != 1)
    prepared = fail("worker: no descriptor of a new store");
  if (!prepared) {
    // The worker has made the store if only its answer was lost.
    (void)co_await abandon_move(kPrepareTimeout);
    co_return prepared.error();
  }
  // Both have it before it can be the one that has the pages.
  next_ = Next{target, std::move(prepared->fds[0])};
  publisher_.push_store(known_.id, target.serial, next_->store);
  machine_.service_manager.wait_for_fdstore();
  const messages::FinishMove finish{known_.id};
  const auto finished = co_await slot_.call(finish, {}, kFinishTimeout);
  // A worker that did not answer is being killed, and may still finish. Its end settles the move.
  if (finished || finished.error().code != ETIMEDOUT) settle_move();
  if (store_id_ != target) {
    if (!next_) (void)co_await abandon_move(kPrepareTimeout);
    co_return finished ? Error{fmt::format("{}: it was not moved", path())} : finished.error();
  }
  publisher_.show();
  co_return Result<void>{};
}

awaitable<Result<void>> Segment::abandon_move(std::chrono::seconds timeout) {
  const messages::AbandonMove abandon{known_.id};
  const auto answer = co_await slot_.call(abandon, {}, timeout);
  if (!answer) co_return answer.error();
  co_return Result<void>{};
}

// No worker may be finishing the move. The page map says which of the two stores has the pages.
void Segment::settle_move() {
  if (!next_) return;
  const auto pages = PageMap::map(page_map_.get(), page_count());
  if (!pages) return log_error(pages.error().message);
  auto next = *std::exchange(next_, std::nullopt);
  if (pages->store() == next.id) {
    std::swap(store_, next.store);
    std::swap(store_id_, next.id);
  }
  publisher_.remove_store(known_.id, next.id.serial);
}

// The next supervisor is to go on with it, should this one die.
awaitable<Result<void>> Segment::lend() {
  if (state_ == SegmentState::interrupted) {
    co_return fail(fmt::format("{}: no worker serves it now", path()));
  }
  known_.is_lent = true;
  co_await publisher_.publish();
  auto result = co_await disconnect();
  if (result) result = co_await release_store();
  if (state_ == SegmentState::planned) co_return result;
  if (result) result = fail(fmt::format("{}: not while it is {}", path(), to_string(state_)));
  if (!carries_swap()) {
    if (auto again = co_await come_up(); !again) log_error(again.error().message);
  }
  if (carries_swap()) known_.is_lent = false;
  co_await publisher_.publish();
  co_return result;
}

awaitable<Result<void>> Segment::take_back() {
  auto result = co_await come_up();
  if (!result) {
    const auto undone = co_await lend();
    if (!undone) log_error(undone.error().message);
    co_return result;
  }
  known_.is_lent = false;
  co_await publisher_.publish();
  co_return result;
}

// From wherever the segment is.
awaitable<Result<void>> Segment::come_up() {
  slot_.note_use_of_card();
  auto result = co_await slot_.ensure_worker();
  if (result && state_ == SegmentState::planned) {
    result = co_await create_store();
    if (!result) co_await forget_failed_store();
  }
  if (result && state_ == SegmentState::allocated) {
    known_.request_limit = request_limit_ = 0;  // of the device that it had
    result = co_await connect();
  }
  // Before the kernel writes a page.
  if (result) co_await publisher_.publish();
  if (result) result = co_await activate();
  co_return result;
}

// The worker lives on. It has made the store if only its answer was lost, and would refuse another.
awaitable<void> Segment::forget_failed_store() {
  const messages::Remove remove{known_.id};
  (void)co_await slot_.call(remove, {}, kPrepareTimeout);
  forget_memory();
}

}  // namespace vramswap
