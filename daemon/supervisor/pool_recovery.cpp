// The part of Pool that answers the death of a worker, the end of a connection and the loss of
// VRAM.
#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <ctime>

#include "daemon/handover/page_map.hpp"
#include "daemon/supervisor/nbd_device.hpp"
#include "daemon/supervisor/pool.hpp"
#include "daemon/system/log.hpp"
#include "daemon/system/oom_killer.hpp"

namespace vramswap {
namespace {

constexpr std::chrono::seconds kImportTimeout{60};
constexpr std::chrono::seconds kReplaceTimeout{60};
// The kernel notices a dead socket within milliseconds; before it has, it drops a new one.
constexpr std::chrono::milliseconds kReconnectDelay{20};
constexpr unsigned kReconnectAttempts = 50;
// A worker that dies as it starts is started again after a pause that doubles up to this.
constexpr std::chrono::milliseconds kFirstBackoff{100};
constexpr std::chrono::milliseconds kLongestBackoff{10000};
// Between two megabytes that are set aside anew: kswapd is to keep up.
constexpr std::chrono::milliseconds kReserveInterval{5};
// Between two parts of the reserve that are given to a worker that starts. It gets them while the
// machine has less than the worker takes, and also where that seems to help no more.
constexpr std::chrono::milliseconds kReleaseInterval{2};
constexpr std::chrono::milliseconds kUnhelpedTime{200};
// A worker that has not got its memory by then will not get it by waiting. It takes half a second,
// and a few seconds on a card that sleeps.
constexpr std::chrono::seconds kStarvedTime{10};
// The driver does not tell a reset from a passing failure. Only after so many attempts, each by a
// new worker on a card that works, over so long a time, is the content of a store taken for lost.
constexpr unsigned kStaleImports = 3;
constexpr std::chrono::seconds kStaleTime{3};

// Whether anybody has the other end open.
bool is_connected(const UniqueFd& socket) {
  pollfd end{socket.get(), POLLRDHUP, 0};
  return poll(&end, 1, 0) == 0;
}

}  // namespace

// Devices and segments are there until it is over.
class Pool::Recovery {
 public:
  explicit Recovery(Pool& pool) : pool_(pool) { ++pool_.recoveries_; }
  ~Recovery() { --pool_.recoveries_; }
  Recovery(const Recovery&) = delete;

 private:
  Pool& pool_;
};

WorkerProcess::Handlers Pool::handlers_of(std::size_t index) {
  return {.on_connection_ended =
              [this](const messages::ConnectionEnded& ended) { on_connection_ended(ended); },
          .on_state_changed =
              [this, index](WorkerState state) {
                if (index < devices_.size()) on_worker_state(*devices_[index], state);
              },
          .on_exit =
              [this, index] {
                if (index < devices_.size()) on_worker_exit(*devices_[index]);
              }};
}

void Pool::on_worker_state(Device& device, WorkerState state) {
  if (is_dismissing_) return;
  // A context takes memory, and the machine may have none.
  if (state == WorkerState::waking) {
    asio::co_spawn(io_, give_up_reserve(), asio::detached);
  }
  if (state == WorkerState::serving && !device.is_recovering) {
    asio::co_spawn(io_, fill_reserve(), asio::detached);
  }
}

void Pool::on_worker_exit(Device& device) {
  if (is_dismissing_ || !device.worker || device.worker->is_running()) return;
  log_error(fmt::format("worker {} of {}: {}", device.worker->pid(), device.info.name,
                        device.worker->how_it_ended()));
  bool is_needed = false;
  for (const auto& segment : segments_) {
    if (segment->device != &device) continue;
    std::ranges::fill(segment->connections, 0);
    segment->is_in_worker = false;
    // What swapoff cannot read it would count as gone. The kill is in force before its reads fail.
    if (segment->state == SegmentState::swapping_off && swap_off_child_ != nullptr) {
      swap_off_child_->kill();
    }
    is_needed |= segment->has_device();
    (void)advance(*segment, SegmentEvent::worker_lost);  // not for a planned one
  }
  if (is_needed && !device.is_recovering) start_recovery(device);
}

// Its state is set at once: a release that comes now waits for this recovery.
void Pool::start_recovery(Device& device) {
  device.is_recovering = true;
  device.died_at = Clock::now();
  device.recovery = ++last_recovery_;
  asio::co_spawn(io_, recover(device), asio::detached);
  asio::co_spawn(io_, free_memory_for(device.recovery), asio::detached);
}

// Goes on for as long as it takes: what is in VRAM is kept, and the kernel queues the I/O.
awaitable<void> Pool::recover(Device& device) {
  const Recovery recovery(*this);
  const auto is_needed = [&] {
    return std::ranges::any_of(segments_, [&](const auto& segment) {
      return segment->device == &device && segment->has_device();
    });
  };
  for (auto backoff = kFirstBackoff; is_needed();
       backoff = std::min(backoff * 2, kLongestBackoff)) {
    const auto result = co_await try_recover(device);
    if (result) {
      ++device.restarts;
      device.problem.clear();
      device.last_pause =
          std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - device.died_at);
      log_info(fmt::format("worker {} of {}: serves again after {} ms", device.worker->pid(),
                           device.info.name, device.last_pause.count()));
      break;
    }
    device.problem = result.error().message;
    log_error(
        fmt::format("{}; trying again in {} ms. The swapped pages are kept; mend the cause, "
                    "and programs that wait for one go on",
                    device.problem, backoff.count()));
    co_await sleep(backoff);
  }
  device.is_recovering = false;
  if (device.problem.empty()) co_await publish();
  asio::co_spawn(io_, fill_reserve(), asio::detached);
}

bool Pool::is_any_starting() const {
  return std::ranges::any_of(devices_, [](const auto& device) {
    const bool is_waking = device->worker && device->worker->is_running() &&
                           device->worker->state() == WorkerState::waking;
    return device->is_starting || is_waking;
  });
}

// Bit by bit: what is left is there for the next worker, should this one die as well.
awaitable<void> Pool::give_up_reserve() {
  if (is_giving_up_) co_return;
  is_giving_up_ = true;
  for (const auto began = Clock::now(); is_any_starting(); co_await sleep(kReleaseInterval)) {
    const auto memory = read_memory_info();
    const bool is_short = !memory || memory->available_bytes < reserve_.size_bytes();
    if (is_short || Clock::now() - began > kUnhelpedTime) reserve_.release_step();
  }
  is_giving_up_ = false;
}

// Where workers die one after the other, on a machine without memory, the reserve may not be there
// again when it is needed. Then everything waits for the device, and the device for memory.
awaitable<void> Pool::free_memory_for(unsigned recovery) {
  const auto is_going_on = [&] {
    return std::ranges::any_of(devices_, [&](const auto& device) {
      return device->is_recovering && device->recovery == recovery;
    });
  };
  while (co_await sleep(kStarvedTime), is_going_on()) {
    const auto memory = read_memory_info();
    if (!memory || memory->available_bytes >= reserve_.size_bytes()) continue;
    const auto called = call_oom_killer();
    log_error(called ? "no memory for a worker: called the kernel's OOM killer, which could not act"
                     : called.error().message);
  }
}

awaitable<Result<void>> Pool::try_recover(Device& device) {
  device.is_starting = true;
  asio::co_spawn(io_, give_up_reserve(), asio::detached);
  auto result = co_await restart_worker(device);
  device.is_starting = false;
  if (!result && device.worker) {
    // Half a recovery is none: the next one starts from a dead worker again.
    device.worker->kill();
    co_await device.worker->dismiss();
  }
  co_return result;
}

// A new worker over the same memory. The old one is dead, so nothing that it was doing can come
// after what this one does.
awaitable<Result<void>> Pool::restart_worker(Device& device) {
  if (auto result = co_await start_worker(device); !result) co_return result;
  if (auto result = co_await describe_to(device); !result) co_return result;
  for (Segment* segment : segments_of(device)) {
    if (segment->state == SegmentState::planned) continue;
    if (auto result = co_await restore_store(*segment); !result) co_return result;
  }
  device.stale_imports = 0;
  for (Segment* segment : segments_of(device)) {
    if (segment->state == SegmentState::planned) continue;
    if (segment->has_device()) {
      if (auto result = co_await reconnect(*segment); !result) co_return result;
    }
    if (auto result = advance(*segment, SegmentEvent::worker_restored); !result) co_return result;
  }
  co_return Result<void>{};
}

awaitable<Result<void>> Pool::restore_store(Segment& segment) {
  if (segment.store) {
    const messages::Import import{segment.id, segment.plan.size_bytes};
    std::vector<int> fds{segment.page_map.get(), segment.store.get()};
    auto answer = co_await segment.device->worker->call(import, std::move(fds), kImportTimeout);
    if (answer) segment.is_in_worker = true;
    if (answer) co_return Result<void>{};
    if (answer.error().code != ESTALE || !is_given_up(*segment.device)) {
      co_return answer.error();
    }
  }
  if (auto result = lose_content(segment); !result) co_return result;
  auto created = co_await create_store(segment);
  if (created) store_memory(segment);
  co_return created;
}

// After one more import that found nothing.
bool Pool::is_given_up(Device& device) {
  const auto now = Clock::now();
  if (device.stale_imports++ == 0) device.first_stale_import = now;
  return device.stale_imports >= kStaleImports && now - device.first_stale_import >= kStaleTime;
}

// What the kernel had written is gone. Reading it is an error from now on; the rest, and what is
// written from now on, is as good as ever.
Result<void> Pool::lose_content(Segment& segment) {
  auto pages = PageMap::map(segment.page_map.get(), segment.page_count());
  if (!pages) return pages.error();
  const std::uint64_t lost = pages->lose_valid();
  if (segment.store) {
    forget_memory(segment);
    segment.store.reset();
    ++segment.generation;
  }
  if (lost == 0) return {};
  segment.lost_pages += lost;
  segment.lost_at = std::time(nullptr);
  log_error(
      fmt::format("{}: {} pages are lost: the memory behind them is gone (GPU reset?). Programs "
                  "that read one get SIGBUS",
                  segment.path(), lost));
  return {};
}

// Fresh sockets in the place of dead ones, until the kernel has taken one for each I/O thread: it
// drops those that come before it has noticed that the old ones are dead, and says nothing.
awaitable<Result<void>> Pool::reconnect(Segment& segment) {
  while (segment.is_reconnecting) co_await sleep(kReconnectDelay);
  segment.is_reconnecting = true;
  auto result = co_await offer_sockets(segment);
  segment.is_reconnecting = false;
  co_return result;
}

awaitable<Result<void>> Pool::offer_sockets(Segment& segment) {
  for (unsigned attempt = 0; attempt < kReconnectAttempts; ++attempt) {
    if (attempt > 0) co_await sleep(kReconnectDelay);
    auto threads = segment.unconnected_threads();
    if (threads.empty()) co_return Result<void>{};
    auto pairs = make_socket_pairs(static_cast<unsigned>(threads.size()));
    if (!pairs) co_return pairs.error();
    const auto served = co_await serve(segment, pairs->worker_ends, std::move(threads));
    if (!served) co_return served.error();
    const auto done = nbd_->reconfigure({.index = segment.nbd_index,
                                         .backend_identifier = backend_identifier(segment),
                                         .sockets = raw(pairs->kernel_ends)});
    if (!done) co_return done.error();
    // Who is left holding the other ends is the kernel.
    pairs->kernel_ends.clear();
    for (std::size_t i = 0; i < served->size(); ++i) {
      const auto& name = (*served)[i];
      if (is_connected(pairs->worker_ends[i])) segment.connections[name.thread] = name.id;
    }
  }
  co_return fail(fmt::format("{}: the kernel takes no new sockets", segment.path()));
}

void Pool::on_connection_ended(const messages::ConnectionEnded& ended) {
  Segment* segment = find_segment(ended.segment);
  if (segment == nullptr || !segment->has_device()) return;
  // Not one that the kernel never took, nor one that has been replaced.
  const auto slot = std::ranges::find(segment->connections, ended.connection);
  if (slot == segment->connections.end()) return;
  *slot = 0;
  if (ended.end == ConnectionEnd::disconnected || ended.end == ConnectionEnd::dropped) {
    if (segment->state != SegmentState::connected) {
      log_error(fmt::format("{}: somebody else has disconnected it", segment->path()));
    }
    return;
  }
  asio::co_spawn(io_, restore_connections(ended.segment), asio::detached);
}

// The kernel drops a socket that it finds slow, and the others go on: this one only is replaced.
awaitable<void> Pool::restore_connections(std::uint32_t segment_id) {
  co_await sleep(kReconnectDelay);
  Segment* segment = find_segment(segment_id);
  if (segment == nullptr || !segment->has_device() || segment->device->is_recovering) co_return;
  if (!segment->device->worker->is_running()) co_return;
  const Recovery recovery(*this);
  const auto result = co_await reconnect(*segment);
  if (!result) log_error(result.error().message);
}

awaitable<Result<void>> Pool::replace_workers(std::string program) {
  for (const auto& device : devices_) {
    if (device->is_recovering || !device->worker->is_running()) {
      co_return fail(fmt::format("the worker of {} is being replaced already", device->info.name));
    }
    const messages::Replace replace{program};
    const auto answer = co_await device->worker->call(replace, {}, kReplaceTimeout);
    if (!answer) co_return answer.error();
  }
  co_return Result<void>{};
}

// For the neediest worker, with an eighth more for what importing its stores takes. What is scratch
// may wait for memory.
void Pool::size_reserve() {
  if (purpose_ == Purpose::scratch) return;
  std::uint64_t most = 0;
  for (const auto& device : devices_) most = std::max(most, device->worker_bytes);
  reserve_.set_size(most + most / 8);
}

// Back to full, with pauses for the reactor, unless a worker dies meanwhile.
awaitable<void> Pool::fill_reserve() {
  if (is_filling_) co_return;
  is_filling_ = true;
  const auto is_recovering = [](const auto& device) { return device->is_recovering; };
  co_await sleep(kReserveInterval);  // the recovery that asks for it is over then
  while (is_up() && !reserve_.is_full() && !is_any_starting() &&
         std::ranges::none_of(devices_, is_recovering)) {
    if (const auto result = reserve_.fill_step(); !result) log_error(result.error().message);
    co_await sleep(kReserveInterval);
  }
  is_filling_ = false;
}

// For a release that comes while the worker is dead or being replaced.
awaitable<Result<void>> Pool::ensure_worker(Device& device) {
  while (device.is_recovering) co_await sleep(kReconnectDelay);
  if (device.worker && device.worker->is_running()) co_return Result<void>{};
  co_return co_await try_recover(device);
}

std::vector<Pool::Segment*> Pool::segments_of(const Device& device) const {
  std::vector<Segment*> list;
  for (const auto& segment : segments_) {
    if (segment->device == &device) list.push_back(segment.get());
  }
  return list;
}

Pool::Segment* Pool::find_segment(std::uint32_t id) {
  const auto found =
      std::ranges::find_if(segments_, [&](const auto& segment) { return segment->id == id; });
  return found == segments_.end() ? nullptr : found->get();
}

}  // namespace vramswap
