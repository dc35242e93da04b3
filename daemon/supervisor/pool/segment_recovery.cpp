// The part of Segment that answers the death of a worker, the end of a connection, the loss of
// VRAM, and the death of a supervisor.
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "daemon/handover/nbd_export.hpp"
#include "daemon/handover/page_map.hpp"
#include "daemon/supervisor/pool/device_use.hpp"
#include "daemon/supervisor/pool/segment.hpp"
#include "daemon/supervisor/spawn.hpp"
#include "daemon/system/log.hpp"

namespace vramswap {
namespace {

constexpr std::chrono::seconds kImportTimeout{60};
// A worker hands its memory over at once, unless it is busy with an allocation or a scrub.
constexpr std::chrono::seconds kHandOverTimeout{60};
// Before sockets are offered in the place of those that have ended: the kernel notices that within
// milliseconds. The pause doubles while the kernel does not take them.
constexpr std::chrono::milliseconds kFirstOfferPause{20};
constexpr std::chrono::milliseconds kLongestOfferPause{1000};
// For a device that the kernel does not regard as connected, since somebody else disconnected it.
constexpr std::chrono::milliseconds kForgottenPause{10000};

// Whether the page map is there, and the store that it names: of a store to which the segment was
// being moved, the service manager may have only the other one.
Result<bool> has_memory_of(std::uint32_t segment, std::uint64_t page_count,
                           const NamedFds& inherited) {
  const auto page_map = inherited.find(page_map_name(segment));
  if (page_map == inherited.end()) return false;
  const auto pages = PageMap::map(page_map->second.get(), page_count);
  if (!pages) return pages.error();
  return inherited.contains(store_name(segment, pages->store().serial));
}

}  // namespace

void Segment::on_worker_lost() {
  connections_.lose_all();
  is_in_worker_ = false;
  // What swapoff cannot read it would count as gone. The kill is in force before its reads fail.
  kill_swap_off();
  (void)advance(SegmentEvent::worker_lost);  // there is no such event for a planned one
}

awaitable<Result<void>> Segment::restore_store() {
  settle_move();
  if (store_) {
    const messages::Import import{known_.id, known_.size_bytes};
    std::vector<int> fds{page_map_.get(), store_.get()};
    auto pages = PageMap::map(page_map_.get(), page_count());
    if (!pages) co_return pages.error();
    const std::uint64_t lost_before = pages->count(PageState::lost);
    auto answer = co_await slot_.call(import, std::move(fds), kImportTimeout);
    if (answer) {
      is_in_worker_ = true;
      // It has given up those that ended the workers before it.
      note_lost(pages->count(PageState::lost) - lost_before, "each worker that copies them dies");
      // The worker that died may not have said all.
      update_lost_pages();
    }
    if (answer || answer.error().code != ESTALE) {
      stale_imports_.forget();
      co_return answer ? Result<void>{} : answer.error();
    }
    if (!stale_imports_.count(machine_.clock.now())) co_return answer.error();
    stale_imports_.forget();
  }
  if (auto result = lose_content(); !result) co_return result;
  co_return co_await create_store();
}

void Segment::note_lost(std::uint64_t pages, std::string_view why) {
  if (pages == 0) return;
  known_.lost_pages += pages;
  known_.lost_at = machine_.clock.wall_time();
  const std::string device = path();
  log_error(fmt::format("{}: {} pages are lost: {}. Programs that read one get SIGBUS", device,
                        pages, why),
            {.message_id = message_ids::kPagesLost,
             .device = device,
             .segment = known_.id,
             .lost_pages = pages});
}

// What the kernel had written is gone. Reading it is an error from now on; the rest, and what is
// written from now on, is as good as ever.
Result<void> Segment::lose_content() {
  auto pages = PageMap::map(page_map_.get(), page_count());
  if (!pages) return pages.error();
  const std::uint64_t lost = pages->lose_valid();
  if (store_) keep_lost_store();
  note_lost(lost, "the memory behind them is gone (GPU reset?)");
  if (lost > 0) update_lost_pages();
  return {};
}

// The verdict may be wrong, and the bytes still there.
void Segment::keep_lost_store() {
  const std::string name = lost_store_name(known_.id, ++known_.generation);
  publisher_.keep_lost_store(known_.id, store_id_.serial, name, store_);
  log_error(
      fmt::format("{}: no worker can import its memory, though fresh memory works. The old "
                  "descriptor is kept as {} until the swap is taken down",
                  path(), name));
  lost_stores_[name] = std::move(store_);
}

// The kernel fails a request as a whole, so that a lost page would take its neighbours along: while
// any is lost, a request is of one page.
void Segment::update_lost_pages() {
  if (!has_nbd()) return;
  const auto pages = PageMap::map(page_map_.get(), page_count());
  if (!pages) return log_error(pages.error().message);
  if (pages->corrupt_count() > known_.corrupt_pages) {
    known_.corrupt_pages = pages->corrupt_count();
    known_.lost_at = machine_.clock.wall_time();
    publisher_.show();
  }
  const bool any_lost = pages->count(PageState::lost) > 0;
  // Before it has taken neighbours along.
  if (any_lost) read_ahead_.reset();
  wanted_limit_ = any_lost ? kPageBytes : known_.request_limit;
  // While nobody serves, the limit cannot be set, and a child may not start for want of memory.
  if (wanted_limit_ == request_limit_ || !limiting_.is_empty() || !slot_.is_serving()) return;
  if (auto pass = work_.enter()) {
    spawn(machine_.io, limit_requests(*std::move(pass), *limiting_.enter()));
  }
}

awaitable<void> Segment::limit_requests([[maybe_unused]] Gate::Pass pass,
                                        [[maybe_unused]] Gate::Pass limiting) {
  // 0: an earlier supervisor died before it said what the limit is.
  while (has_nbd() && wanted_limit_ != 0 && wanted_limit_ != request_limit_) {
    const std::uint64_t limit = wanted_limit_;
    const auto set = co_await machine_.nbd.set_request_limit(nbd_index_, limit);
    // The next comparison tries again.
    if (!set) co_return log_error(set.error().message);
    request_limit_ = limit;
  }
}

// The queue outlives its connections, and the next user of the device has no lost pages.
awaitable<void> Segment::restore_request_limit(std::uint32_t index) {
  co_await limiting_.wait_until_empty();
  if (request_limit_ != kPageBytes || known_.request_limit == 0) co_return;
  const auto set = co_await machine_.nbd.set_request_limit(index, known_.request_limit);
  if (!set) log_error(set.error().message);
}

awaitable<Result<void>> Segment::restore_connections() {
  if (!has_nbd()) co_return Result<void>{};
  auto restored = co_await connections_.restore(nbd_index_);
  note_served();
  if (!restored && has_nbd()) keep_connecting();
  co_return restored;
}

// Once a connection is there, somebody serves the device.
void Segment::note_served() {
  const bool was_lost = state_ == SegmentState::interrupted || state_ == SegmentState::stranded;
  if (connections_.are_complete()) was_disconnected_ = false;
  if (was_lost && is_in_worker_ && connections_.is_any_there()) {
    if (auto result = advance(SegmentEvent::worker_restored); !result) {
      log_error(result.error().message);
    }
  }
  publisher_.show();
}

void Segment::on_connection_ended(const messages::ConnectionEnded& ended) {
  if (!connections_.lose(ended.connection) || !has_nbd()) return;
  if (ended.end == ConnectionEnd::disconnected || ended.end == ConnectionEnd::dropped) {
    if (state_ == SegmentState::connected) return;
    note_disconnected();
  }
  keep_connecting();
}

// Each of its connections has been told.
void Segment::note_disconnected() {
  if (std::exchange(was_disconnected_, true)) return;
  const std::string device = path();
  log_error(
      fmt::format("{}: somebody else has disconnected it", device),
      {.message_id = message_ids::kDisconnectedByOthers, .device = device, .segment = known_.id});
}

void Segment::compare_swap(const std::vector<SwapArea>& areas) {
  const bool is_off = was_listed_ && carries_swap() && !is_swap_area(areas, path());
  if (std::exchange(was_seen_off_, is_off) == is_off || !is_off) return;
  const std::string device = path();
  log_error(
      fmt::format("{}: somebody else has swapped it off; 'vramswap up' with the same "
                  "settings swaps it on again",
                  device),
      {.message_id = message_ids::kSwappedOffByOthers, .device = device, .segment = known_.id});
}

void Segment::compare_connections(const messages::Adopted& now) {
  const auto held = std::ranges::find(now.segments, known_.id, &messages::Adopted::Segment::id);
  if (held == now.segments.end() || !has_nbd()) return;
  connections_.compare(held->connections);
  if (!connections_.are_complete()) keep_connecting();
}

void Segment::keep_connecting() {
  if (!connecting_.is_empty()) return;
  if (auto pass = work_.enter()) {
    spawn(machine_.io, connect_until_complete(*std::move(pass), *connecting_.enter()));
  }
}

// The kernel drops a socket that it finds slow, and the others go on: only this one is replaced.
awaitable<void> Segment::connect_until_complete([[maybe_unused]] Gate::Pass pass,
                                                [[maybe_unused]] Gate::Pass connecting) {
  bool is_logged = false;
  auto longest_pause = kLongestOfferPause;
  for (auto pause = kFirstOfferPause;; pause = std::min(pause * 2, longest_pause)) {
    co_await machine_.clock.sleep(pause);
    if (!has_nbd()) co_return;
    if (!slot_.is_serving()) continue;  // its recovery restores all connections
    const auto offered = co_await connections_.offer(nbd_index_);
    note_served();
    if (offered) break;
    if (!is_logged) log_error(offered.error().message + "; trying again until it does");
    is_logged = true;
    longest_pause = offered.error().code == EINVAL ? kForgottenPause : kLongestOfferPause;
  }
  if (is_logged) log_info(fmt::format("{}: all connections are restored", path()));
}

Result<void> Segment::adopt_from_worker(const messages::Adopted::Segment& held) {
  is_in_worker_ = true;
  for (const auto& connection : held.connections) {
    if (auto result = connections_.adopt(connection); !result) return result;
  }
  return {};
}

awaitable<Result<void>> Segment::adopt_memory(NamedFds& inherited) {
  const std::string map_name = page_map_name(known_.id);
  const auto is_whole = has_memory_of(known_.id, page_count(), inherited);
  if (!is_whole) co_return is_whole.error();
  if (is_in_worker_ && !*is_whole) {
    const messages::HandOver hand_over{known_.id};
    auto answer = co_await slot_.ask(hand_over, {}, kHandOverTimeout);
    if (!answer) co_return answer.error();
    if (answer->fds.size() != 2) co_return fail("worker: it handed over no memory");
    // If this adoption fails, the next attempt has them, whatever has become of the worker.
    auto pages = PageMap::map(answer->fds[0].get(), page_count());
    if (!pages) co_return pages.error();
    inherited[map_name] = std::move(answer->fds[0]);
    inherited[store_name(known_.id, pages->store().serial)] = std::move(answer->fds[1]);
  }
  auto page_map = copy_of(inherited, map_name);
  if (!page_map) co_return page_map.error();
  page_map_ = *std::move(page_map);
  if (page_map_) {
    auto pages = PageMap::map(page_map_.get(), page_count());
    if (!pages) co_return pages.error();
    store_id_ = pages->store();
    // The description is older than the last move.
    if (home() == StorePlace::card && !is_moved_out()) slot_.note_use_of_card();
    auto store = copy_of(inherited, store_name(known_.id, store_id_.serial));
    if (!store) co_return store.error();
    store_ = *std::move(store);
  }
  // One to which a move was under way, and without its page map a store says nothing. The service
  // manager forgets them: two of one name are one too many for the next supervisor.
  for (const auto& [name, fd] : inherited) {
    const bool is_its = page_map_ && name == store_name(known_.id, store_id_.serial);
    if (is_store_of(known_.id, name) && !is_its) {
      machine_.service_manager.remove_from_fdstore(name);
    }
  }
  for (const auto& [name, fd] : inherited) {
    if (!is_lost_store_of(known_.id, name)) continue;
    auto kept = copy_of(inherited, name);
    if (!kept) co_return kept.error();
    lost_stores_[name] = *std::move(kept);
  }
  co_return Result<void>{};
}

Result<void> Segment::adopt_device(const std::vector<NbdDevice>& devices,
                                   const std::vector<SwapArea>& areas, bool is_going_down) {
  const auto device = std::ranges::find(devices, connections_.identifier(), &NbdDevice::identifier);
  // After a DISCONNECT by somebody else the kernel does not say whose the device was, and it keeps
  // the swap area.
  const bool is_forgotten =
      device == devices.end() && known_.nbd_index >= 0 &&
      is_swap_area(areas, device_path(static_cast<std::uint32_t>(known_.nbd_index)));
  const bool has_device = device != devices.end() || is_forgotten;
  if (has_device) {
    nbd_index_ = is_forgotten ? static_cast<std::uint32_t>(known_.nbd_index) : device->index;
  }
  bool is_swap = false;
  if (has_device) {
    // If the kernel cannot say whether somebody holds it: it is asked again before the device goes.
    const auto is_held = machine_.swap.is_held(device_path(nbd_index_));
    was_listed_ = is_swap_area(areas, device_path(nbd_index_));
    // Its queue was set for swap, so it was a swap area, and nobody has it open: somebody else has
    // swapped it off. It stays, and may be swapped on again.
    const bool is_in_use = is_held && *is_held;
    was_listed_ |= known_.request_limit != 0 && !is_going_down && !known_.is_lent && !is_in_use;
    is_swap = was_listed_ || is_in_use;
  }
  state_ = state_as_found(has_device, is_swap, slot_.is_running());
  if (carries_swap()) known_.is_lent = false;
  if (!has_device && !store_) {
    state_ = SegmentState::planned;
    forget_memory();
  }
  if (has_device && !page_map_) return make_page_map_of_lost_pages();
  return {};
}

// The segment's memory went with the processes that died: all that is known of its pages is that
// they are lost.
Result<void> Segment::make_page_map_of_lost_pages() {
  auto page_map = PageMap::create(page_count(), settings_.page_map_memory);
  if (!page_map) return page_map.error();
  page_map_ = *std::move(page_map);
  auto pages = PageMap::map(page_map_.get(), page_count());
  if (!pages) return pages.error();
  pages->set(0, page_count(), PageState::lost);
  ++known_.generation;
  const std::string device = path();
  if (carries_swap()) {
    log_error(fmt::format("{}: its pages are lost: the memory behind them went with the processes "
                          "that held it. Programs that read one get SIGBUS",
                          device),
              {.message_id = message_ids::kPagesLost, .device = device, .segment = known_.id});
  }
  return {};
}

awaitable<Result<void>> Segment::finish_store() {
  if (!is_in_worker_) co_return co_await restore_store();
  // Its supervisor may have died in a move.
  co_return co_await abandon_move(kImportTimeout);
}

}  // namespace vramswap
