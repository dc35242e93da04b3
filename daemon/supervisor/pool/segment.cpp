#include "daemon/supervisor/pool/segment.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "daemon/control/size.hpp"
#include "daemon/handover/nbd_export.hpp"
#include "daemon/handover/page_map.hpp"
#include "daemon/supervisor/pool/device_use.hpp"
#include "daemon/system/log.hpp"

namespace vramswap {
namespace {

// Allocation and scrubbing run at the speed of memory: the slowest case is host memory that the
// kernel must first free.
constexpr std::chrono::seconds kStoreTimeout{120};
// The kernel resends a request that got no reply within this time. After a worker dies, its
// requests wait this long, plus up to 1 s because the kernel's timer uses whole seconds. A slow
// worker can hit it, too. That costs a reconnect and never data, since a resent WRITE cannot
// overtake the first one (write_fence.hpp), so the time may be shorter than the slowest request of
// a busy machine.
constexpr std::chrono::milliseconds kRequestTimeout{500};
// For one page, before a swapoff. The kernel resends a request after kRequestTimeout.
constexpr std::chrono::seconds kReadLimit{10};
// Attempts while the kernel refuses a swapoff since another one is under way.
constexpr unsigned kSwapOffs = 50;
constexpr std::chrono::milliseconds kSwapOffInterval{200};
// How long the kernel queues I/O for a device under swapoff that nobody serves.
constexpr std::chrono::seconds kEndlessly{std::chrono::hours(24 * 365)};

}  // namespace

SegmentSettings SegmentSettings::of(const PoolOptions& options, const control::UpRequest& request,
                                    std::uint32_t pool_id, unsigned connections) {
  return {.backend = request.backend,
          .connections = connections,
          .reconnect_timeout = request.reconnect_timeout,
          .identifier_prefix = fmt::format("{}{:08x}-", options.device_prefix, pool_id),
          .makes_swap_area = options.makes_swap_area,
          .page_map_memory = options.page_map_memory};
}

Segment::Segment(Machine& machine, const SegmentSettings& settings, WorkerSlot& slot,
                 StatePublisher& publisher, const PoolDescription::Segment& known)
    : machine_(machine),
      settings_(settings),
      slot_(slot),
      publisher_(publisher),
      known_(known),
      connections_(machine, slot, known.id, settings.connections,
                   fmt::format("{}{}", settings.identifier_prefix, known.id)),
      limiting_(machine.io),
      connecting_(machine.io),
      work_(machine.io) {
  slot_.segments_.push_back(this);
}

Segment::~Segment() {
  std::erase(slot_.segments_, this);
}

StorePlace Segment::home() const {
  return settings_.backend == control::Backend::ram ? StorePlace::host : StorePlace::card;
}

std::uint64_t Segment::page_count() const {
  return known_.size_bytes / kPageBytes;
}

Result<void> Segment::advance(SegmentEvent event) {
  const auto next = next_state(state_, event);
  if (!next) {
    return fail(fmt::format("segment {}{}{}: {}: not while it is {}", known_.id,
                            has_nbd() ? " on " : "", path(), to_string(event), to_string(state_)));
  }
  state_ = *next;
  publisher_.show();
  return {};
}

awaitable<Result<void>> Segment::create_store() {
  if (!page_map_) {
    auto page_map = PageMap::create(page_count(), settings_.page_map_memory);
    if (!page_map) co_return page_map.error();
    page_map_ = *std::move(page_map);
  }
  auto pages = PageMap::map(page_map_.get(), page_count());
  if (!pages) co_return pages.error();
  store_id_ = {pages->store().serial + 1, home()};
  pages->set_store(store_id_);
  if (home() == StorePlace::card) slot_.note_use_of_card();
  const messages::Create create{known_.id, known_.size_bytes};
  std::vector<int> fds{page_map_.get()};
  auto answer = co_await slot_.call(create, std::move(fds), kStoreTimeout);
  if (!answer) co_return answer.error();
  if (answer->fds.size() != 1) co_return fail("worker: no descriptor of a new store");
  store_ = std::move(answer->fds[0]);
  is_in_worker_ = true;
  if (state_ == SegmentState::planned) {
    if (auto result = advance(SegmentEvent::store_created); !result) co_return result;
  }
  push_memory();
  co_return Result<void>{};
}

awaitable<Result<void>> Segment::connect() {
  const auto index = co_await connections_.connect(known_.size_bytes, settings_.reconnect_timeout);
  if (!index) co_return index.error();
  nbd_index_ = *index;
  co_return advance(SegmentEvent::device_connected);
}

awaitable<Result<void>> Segment::activate() {
  // Not again after a swapoff, when the limit may be that of lost pages.
  if (known_.request_limit == 0) {
    const auto limit =
        machine_.nbd.set_queue(nbd_index_, transmission::kMaxTransferBytes, kRequestTimeout);
    if (!limit) co_return limit.error();
    known_.request_limit = request_limit_ = *limit;
  }
  if (!settings_.makes_swap_area) co_return Result<void>{};
  auto made = co_await machine_.swap.make_area(path());
  if (!made) co_return made;
  auto on = co_await machine_.swap.on(path(), known_.priority);
  if (!on) co_return on;
  was_listed_ = true;
  was_seen_off_ = false;
  co_return advance(SegmentEvent::swap_on);
}

// Also of a device whose connections are all there: one page is read. Not a lost one, for that
// fails whoever serves it.
awaitable<Result<void>> Segment::check_served() {
  if (!slot_.is_serving()) co_return fail(fmt::format("{}: no worker serves it now", path()));
  if (auto restored = co_await restore_connections(); !restored) co_return restored;
  auto pages = PageMap::map(page_map_.get(), page_count());
  if (!pages) co_return pages.error();
  std::uint64_t page = 0;
  while (page < page_count() && pages->at(page) == PageState::lost) {
    page += pages->run_length(page, page_count() - page);
  }
  if (page == page_count()) co_return Result<void>{};
  auto read = co_await machine_.swap.read_page(path(), page * kPageBytes, kReadLimit);
  // The worker has just found its bytes wrong, so there is one that serves.
  if (!read && pages->at(page) == PageState::lost) co_return Result<void>{};
  co_return read;
}

awaitable<Result<void>> Segment::swap_on_again() {
  if (!slot_.is_serving()) co_return fail(fmt::format("{}: no worker serves it now", path()));
  if (auto result = advance(SegmentEvent::swap_off_done); !result) co_return result;
  auto on = co_await activate();
  if (!on) (void)advance(SegmentEvent::swap_on);
  co_return on;
}

bool Segment::is_off_by_others() const {
  const auto areas = machine_.swap.areas();
  return was_listed_ && carries_swap() && areas && !is_swap_area(*areas, path());
}

// The pages that are in use on a device that somebody else has disconnected.
Result<void> Segment::check_nothing_is_lost() const {
  const auto areas = machine_.swap.areas();
  if (!areas) return areas.error();
  const auto area = std::ranges::find(*areas, path(), &SwapArea::path);
  if (area == areas->end() || area->used_bytes == 0) return {};
  return fail(fmt::format(
      "{}: somebody else has disconnected it, and the kernel takes no new connection: "
      "the {} in use there cannot be read; end the programs that use them, or lose them "
      "with --force",
      path(), control::format_bytes(area->used_bytes)));
}

awaitable<Result<void>> Segment::swap_off(bool may_lose_pages) {
  if (is_off_by_others()) co_return advance(SegmentEvent::swap_off_done);
  // Refuses an interrupted segment.
  if (!next_state(state_, SegmentEvent::swap_off_started)) {
    co_return advance(SegmentEvent::swap_off_started);
  }
  const auto served = co_await check_served();
  // Somebody else has disconnected it: no page can be read, and no timeout set.
  const bool is_refused = !served && connections_.are_refused();
  if (!served && !is_refused) co_return served;
  if (is_refused && !may_lose_pages) {
    if (auto nothing = check_nothing_is_lost(); !nothing) co_return nothing;
  }
  if (auto result = advance(SegmentEvent::swap_off_started); !result) co_return result;
  // For as long as it takes: reads that fail would have swapoff count their pages as gone, and the
  // kernel looks at no signal before it has given up all that a process has there.
  if (!is_refused) {
    if (auto patient = connections_.set_dead_timeout(nbd_index_, kEndlessly); !patient) {
      (void)advance(SegmentEvent::swap_off_failed);
      co_return patient;
    }
  }
  const auto result = co_await run_swap_off();
  const auto advanced =
      advance(result ? SegmentEvent::swap_off_done : SegmentEvent::swap_off_failed);
  // The worker that died meanwhile has not been replaced: nobody serves it.
  if (!is_in_worker_) {
    if (auto lost = advance(SegmentEvent::worker_lost); !lost) log_error(lost.error().message);
  }
  // A supervisor that died in a swapoff leaves it endless: that swapoff may be under way still.
  if (!is_refused) {
    auto restored = connections_.set_dead_timeout(nbd_index_, settings_.reconnect_timeout);
    if (!restored) log_error(restored.error().message);
  }
  co_return result ? advanced : result;
}

// That of a supervisor which has died may be under way: the kernel refuses another one until it has
// seen its signal.
awaitable<Result<void>> Segment::run_swap_off() {
  const std::string device = path();
  for (unsigned attempt = 1;; ++attempt) {
    auto started = machine_.swap.off(device);
    Result<void> result = started ? Result<void>{} : started.error();
    if (started) {
      swap_off_ = *std::move(started);
      // While pages are lost, each request is to be of one page.
      const bool is_worth_it = wanted_limit_ != kPageBytes && !connections_.are_refused();
      if (is_worth_it) read_ahead_ = machine_.swap.read_ahead(device);
      result = co_await swap_off_->wait();
      read_ahead_.reset();
      swap_off_.reset();
    }
    if (result) co_return result;
    // Somebody else has done it: systemd does when the machine shuts down.
    const auto areas = machine_.swap.areas();
    if (areas && !is_swap_area(*areas, device)) co_return Result<void>{};
    if (result.error().code != EINVAL || attempt == kSwapOffs || !is_in_worker_) co_return result;
    co_await machine_.clock.sleep(kSwapOffInterval);
  }
}

void Segment::kill_swap_off() {
  if (swap_off_) swap_off_->kill();
}

awaitable<Result<void>> Segment::disconnect() {
  if (state_ == SegmentState::active) {
    if (auto off = co_await swap_off(false); !off) co_return off;
  }
  if (state_ != SegmentState::connected && state_ != SegmentState::stranded) {
    co_return Result<void>{};
  }
  if (auto unused = co_await check_unused(machine_, path()); !unused) co_return unused;
  if (auto gone = co_await connections_.disconnect(nbd_index_); !gone) co_return gone;
  auto advanced = advance(SegmentEvent::device_disconnected);
  co_await restore_request_limit(nbd_index_);
  co_return advanced;
}

awaitable<Result<void>> Segment::release_store() {
  if (state_ != SegmentState::allocated) co_return Result<void>{};
  // A device that is disconnected while somebody has it open stays until it is closed.
  for (const NbdDevice& device : machine_.nbd.find_devices(connections_.identifier())) {
    if (device.identifier != connections_.identifier()) continue;
    auto unused = co_await check_unused(machine_, device_path(device.index));
    if (!unused) co_return unused;
  }
  auto scrubbed = co_await scrub();
  // Once more: the worker may have died of it, and the supervisor holds the memory. Or it was not
  // told, and would keep the memory from those that it is lent to.
  if (!scrubbed) {
    if (auto again = co_await scrub(); again) scrubbed = again;
  }
  if (!scrubbed) {
    log_error(fmt::format("segment {}: freed without being scrubbed: {}", known_.id,
                          scrubbed.error().message));
  }
  forget_memory();
  is_in_worker_ = false;
  co_return advance(SegmentEvent::store_released);
}

void Segment::push_memory() const {
  publisher_.push_page_map(known_.id, page_map_);
  publisher_.push_store(known_.id, store_id_.serial, store_);
}

// What is made again in its place begins with empty pages.
void Segment::forget_memory() {
  publisher_.remove_page_map(known_.id);
  publisher_.remove_store(known_.id, store_id_.serial);
  page_map_.reset();
  store_.reset();
  for (const auto& [name, store] : lost_stores_) publisher_.remove_lost_store(name);
  lost_stores_.clear();
}

awaitable<Result<void>> Segment::scrub() {
  if (auto result = co_await slot_.ensure_worker(); !result) co_return result;
  const messages::Remove remove{known_.id};
  const auto answer = co_await slot_.call(remove, {}, kStoreTimeout);
  if (!answer) co_return answer.error();
  co_return Result<void>{};
}

PoolDescription::Segment Segment::describe() const {
  auto description = known_;
  description.nbd_index = has_nbd() ? static_cast<std::int64_t>(nbd_index_) : -1;
  return description;
}

std::string Segment::place_name() const {
  if (!store_) return "";
  return store_id_.place == StorePlace::card ? "vram" : "host memory";
}

control::SegmentStatus Segment::status(const std::vector<SwapArea>& areas) const {
  control::SegmentStatus status{.device = path(),
                                .size_bytes = known_.size_bytes,
                                .used_bytes = 0,
                                .priority = known_.priority,
                                .backend = settings_.backend,
                                .store = slot_.info().name,
                                .gpu_uuid = slot_.info().uuid,
                                .state = std::string(to_string(state_)),
                                .generation = known_.generation,
                                .lost_pages = lost_pages(),
                                .corrupt_pages = known_.corrupt_pages,
                                .lost_at = known_.lost_at,
                                .place = place_name()};
  if (is_lent()) status.state = control::kLentState;
  const auto area = std::ranges::find(areas, status.device, &SwapArea::path);
  if (area != areas.end()) {
    status.used_bytes = area->used_bytes;
    status.priority = area->priority;
    if (connections_.are_refused()) status.state = control::kDisconnectedState;
  } else if (carries_swap() && was_listed_) {
    status.state = control::kOffState;
  }
  return status;
}

}  // namespace vramswap
