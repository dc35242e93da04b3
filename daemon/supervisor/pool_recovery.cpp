// The part of Pool that answers the death of a worker and the end of a connection.
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "daemon/supervisor/nbd_device.hpp"
#include "daemon/supervisor/pool.hpp"
#include "daemon/system/log.hpp"

namespace vramswap {
namespace {

constexpr std::chrono::seconds kImportTimeout{60};
// The kernel notices a dead socket within milliseconds; before it has, it drops a new one.
constexpr std::chrono::milliseconds kReconnectDelay{20};
// A worker that dies as it starts is started again after a pause that doubles up to this.
constexpr std::chrono::milliseconds kFirstBackoff{100};
// Between two megabytes that are set aside anew: kswapd is to keep up.
constexpr std::chrono::milliseconds kReserveInterval{20};
constexpr std::chrono::milliseconds kLongestBackoff{10000};

}  // namespace

WorkerProcess::Handlers Pool::handlers_of(Device& device) {
  return {.on_connection_ended =
              [this](const messages::ConnectionEnded& ended) { on_connection_ended(ended); },
          .on_exit = [this, &device](int status) { on_worker_exit(device, status); }};
}

void Pool::on_worker_exit(Device& device, int status) {
  if (is_dismissing_) return;
  log_error(fmt::format("worker {} of {}: {}", device.worker->pid(), device.info.name,
                        describe_wait_status(status)));
  bool is_needed = false;
  for (const auto& segment : segments_) {
    if (segment->device != &device) continue;
    // What swapoff cannot read it would count as gone. The kill is in force before its reads fail.
    if (segment->state == SegmentState::swapping_off) swap_off_child_->kill();
    is_needed |= segment->has_device();
    (void)advance(*segment, SegmentEvent::worker_lost);  // not for a planned one
  }
  if (is_needed && !device.is_recovering) {
    asio::co_spawn(io_, recover(device), asio::detached);
  }
}

awaitable<void> Pool::recover(Device& device) {
  device.is_recovering = true;
  reserve_.release();
  const auto is_needed = [&] {
    return std::ranges::any_of(segments_, [&](const auto& segment) {
      return segment->device == &device && segment->has_device();
    });
  };
  for (auto backoff = kFirstBackoff; is_needed();
       backoff = std::min(backoff * 2, kLongestBackoff)) {
    const auto result = co_await try_recover(device);
    if (result) {
      log_info(
          fmt::format("worker {} of {}: serves again", device.worker->pid(), device.info.name));
      if (!is_filling_) asio::co_spawn(io_, fill_reserve(), asio::detached);
      break;
    }
    log_error(fmt::format("{}; trying again in {} ms", result.error().message, backoff.count()));
    co_await sleep(backoff);
  }
  device.is_recovering = false;
}

awaitable<Result<void>> Pool::try_recover(Device& device) {
  auto result = co_await restart_worker(device);
  if (!result) {
    // Half a recovery is none: the next one starts from a dead worker again.
    device.worker->kill();
    co_await device.worker->dismiss();
  }
  co_return result;
}

// A new worker over the same memory.
awaitable<Result<void>> Pool::restart_worker(Device& device) {
  if (auto result = co_await start_worker(device); !result) co_return result;
  for (const auto& segment : segments_) {
    if (segment->device != &device || segment->state == SegmentState::planned) continue;
    const messages::Import import{segment->id, segment->plan.size_bytes};
    std::vector<int> fds{segment->page_map.get(), segment->store.get()};
    auto answer = co_await device.worker->call(import, std::move(fds), kImportTimeout);
    if (!answer) co_return std::unexpected(answer.error());
    if (segment->has_device()) {
      std::vector<unsigned> slots(connections_);
      std::iota(slots.begin(), slots.end(), 0U);
      if (auto result = co_await reconnect(*segment, std::move(slots)); !result) co_return result;
    }
    if (auto result = advance(*segment, SegmentEvent::worker_restored); !result) co_return result;
  }
  co_return Result<void>{};
}

// Fresh sockets in the place of dead ones. Success does not mean that the kernel took them: those
// it drops come back as ended connections, and are tried again.
awaitable<Result<void>> Pool::reconnect(Segment& segment, std::vector<unsigned> slots) {
  auto pairs = make_socket_pairs(static_cast<unsigned>(slots.size()));
  if (!pairs) co_return std::unexpected(pairs.error());
  auto served = co_await serve(segment, std::move(pairs->worker_ends), std::move(slots));
  if (!served) co_return served;
  const auto done = nbd_->reconfigure({.index = segment.nbd_index,
                                       .backend_identifier = backend_identifier(segment),
                                       .sockets = raw(pairs->kernel_ends)});
  if (!done) co_return std::unexpected(Error{done.error().message(), done.error().code});
  co_return Result<void>{};
}

void Pool::on_connection_ended(const messages::ConnectionEnded& ended) {
  const Segment* segment = find_segment(ended.segment);
  if (segment == nullptr || !segment->has_device()) return;
  if (ended.end == ConnectionEnd::disconnected || ended.end == ConnectionEnd::dropped) {
    if (segment->state != SegmentState::connected) {
      log_error(fmt::format("{}: somebody else has disconnected it", segment->path()));
    }
    return;
  }
  asio::co_spawn(io_, restore_connection(ended.segment, ended.slot), asio::detached);
}

// The kernel drops a socket that it finds slow, and the others go on: this one only is replaced.
awaitable<void> Pool::restore_connection(std::uint32_t segment_id, unsigned slot) {
  co_await sleep(kReconnectDelay);
  Segment* segment = find_segment(segment_id);
  if (segment == nullptr || !segment->has_device() || segment->device->is_recovering) co_return;
  if (!segment->device->worker->is_running()) co_return;
  std::vector<unsigned> slots{slot};
  const auto result = co_await reconnect(*segment, std::move(slots));
  if (!result) log_error(result.error().message);
}

// For the neediest worker, with an eighth more for what importing its stores takes.
void Pool::size_reserve() {
  std::uint64_t most = 0;
  for (const auto& device : devices_) most = std::max(most, device->worker_bytes);
  reserve_.set_size(most + most / 8);
}

// Back to full, with pauses for the reactor, unless a worker dies meanwhile.
awaitable<void> Pool::fill_reserve() {
  is_filling_ = true;
  const auto is_recovering = [](const auto& device) { return device->is_recovering; };
  co_await sleep(kReserveInterval);  // the recovery that asks for it is over then
  while (is_up() && !reserve_.is_full() && std::ranges::none_of(devices_, is_recovering)) {
    if (const auto result = reserve_.fill_step(); !result) log_error(result.error().message);
    co_await sleep(kReserveInterval);
  }
  is_filling_ = false;
}

// For a release that comes while the worker is dead or being replaced.
awaitable<Result<void>> Pool::ensure_worker(Device& device) {
  while (device.is_recovering) co_await sleep(kReconnectDelay);
  if (device.worker->is_running()) co_return Result<void>{};
  co_return co_await try_recover(device);
}

Pool::Segment* Pool::find_segment(std::uint32_t id) {
  const auto found =
      std::ranges::find_if(segments_, [&](const auto& segment) { return segment->id == id; });
  return found == segments_.end() ? nullptr : found->get();
}

}  // namespace vramswap
