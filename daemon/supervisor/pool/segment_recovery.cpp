// The part of Segment that answers the death of a worker, the end of a connection, the loss of
// VRAM, and the death of a supervisor.
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "daemon/handover/nbd_export.hpp"
#include "daemon/handover/page_map.hpp"
#include "daemon/supervisor/pool/device_use.hpp"
#include "daemon/supervisor/pool/segment.hpp"
#include "daemon/system/log.hpp"

namespace vramswap {
namespace {

constexpr std::chrono::seconds kImportTimeout{60};
// A worker hands its memory over at once, unless it is busy with an allocation or a scrub.
constexpr std::chrono::seconds kHandOverTimeout{60};
// The kernel notices the end of a connection within milliseconds.
constexpr std::chrono::milliseconds kRestoreDelay{20};

UniqueFd take(NamedFds& fds, const std::string& name) {
  const auto found = fds.find(name);
  return found == fds.end() ? UniqueFd() : std::move(found->second);
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
  if (store_) {
    const messages::Import import{known_.id, known_.size_bytes};
    std::vector<int> fds{page_map_.get(), store_.get()};
    auto answer = co_await slot_.call(import, std::move(fds), kImportTimeout);
    if (answer) is_in_worker_ = true;
    if (answer) co_return Result<void>{};
    if (answer.error().code != ESTALE || !slot_.count_stale_import()) co_return answer.error();
  }
  if (auto result = lose_content(); !result) co_return result;
  co_return co_await create_store();
}

// What the kernel had written is gone. Reading it is an error from now on; the rest, and what is
// written from now on, is as good as ever.
Result<void> Segment::lose_content() {
  auto pages = PageMap::map(page_map_.get(), page_count());
  if (!pages) return pages.error();
  const std::uint64_t lost = pages->lose_valid();
  if (store_) {
    publisher_.remove_memory(known_.id);
    store_.reset();
    ++known_.generation;
  }
  if (lost == 0) return {};
  known_.lost_pages += lost;
  known_.lost_at = machine_.clock.wall_time();
  log_error(
      fmt::format("{}: {} pages are lost: the memory behind them is gone (GPU reset?). Programs "
                  "that read one get SIGBUS",
                  path(), lost));
  return {};
}

awaitable<Result<void>> Segment::restore_connections() {
  if (!has_nbd()) co_return Result<void>{};
  co_return co_await connections_.restore(nbd_index_);
}

Result<void> Segment::on_worker_restored() {
  return advance(SegmentEvent::worker_restored);
}

void Segment::on_connection_ended(const messages::ConnectionEnded& ended) {
  if (!has_nbd() || !connections_.lose(ended.connection)) return;
  if (ended.end == ConnectionEnd::disconnected || ended.end == ConnectionEnd::dropped) {
    if (state_ != SegmentState::connected) {
      log_error(fmt::format("{}: somebody else has disconnected it", path()));
    }
    return;
  }
  if (auto pass = work_.enter()) {
    asio::co_spawn(machine_.io, restore_ended_connections(*std::move(pass)), asio::detached);
  }
}

// The kernel drops a socket that it finds slow, and the others go on: only this one is replaced.
awaitable<void> Segment::restore_ended_connections([[maybe_unused]] Gate::Pass pass) {
  co_await machine_.clock.sleep(kRestoreDelay);
  if (!slot_.is_serving()) co_return;  // its recovery restores all connections
  if (auto result = co_await restore_connections(); !result) log_error(result.error().message);
}

Result<void> Segment::adopt_from_worker(const messages::Adopted::Segment& held) {
  is_in_worker_ = true;
  for (const auto& connection : held.connections) {
    if (auto result = connections_.adopt(connection); !result) return result;
  }
  return {};
}

awaitable<Result<void>> Segment::adopt_memory(NamedFds& inherited) {
  page_map_ = take(inherited, page_map_name(known_.id));
  store_ = take(inherited, store_name(known_.id));
  if (page_map_ && store_) co_return Result<void>{};
  if (!is_in_worker_) {
    // Only together: a page map without its store would call pages valid that are not there.
    store_.reset();
    co_return Result<void>{};
  }
  const messages::HandOver hand_over{known_.id};
  auto answer = co_await slot_.call(hand_over, {}, kHandOverTimeout);
  if (!answer) co_return answer.error();
  if (answer->fds.size() != 2) co_return fail("worker: hands over no memory");
  page_map_ = std::move(answer->fds[0]);
  store_ = std::move(answer->fds[1]);
  co_return Result<void>{};
}

Result<void> Segment::adopt_device(const std::vector<NbdDevice>& devices,
                                   const std::vector<SwapArea>& areas) {
  const auto device = std::ranges::find(devices, connections_.identifier(), &NbdDevice::identifier);
  const bool has_device = device != devices.end();
  if (has_device) nbd_index_ = device->index;
  bool is_swap = false;
  if (has_device) {
    // If the kernel cannot say whether somebody holds it: it is asked again before the device goes.
    const auto is_held = machine_.swap.is_held(device_path(nbd_index_));
    is_swap = is_swap_area(areas, device_path(nbd_index_)) || (is_held && *is_held);
  }
  state_ = state_as_found(has_device, is_swap, slot_.is_running());
  if (!has_device && !store_) state_ = SegmentState::planned;
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
  return {};
}

awaitable<Result<void>> Segment::finish_worker_setup() {
  if (!is_in_worker_) {
    if (auto result = co_await restore_store(); !result) co_return result;
  }
  co_return co_await restore_connections();
}

}  // namespace vramswap
