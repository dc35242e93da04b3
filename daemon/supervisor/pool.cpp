#include "daemon/supervisor/pool.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <random>
#include <ranges>

#include "daemon/handover/page_map.hpp"
#include "daemon/handover/worker_socket.hpp"
#include "daemon/supervisor/leftovers.hpp"
#include "daemon/supervisor/nbd_device.hpp"
#include "daemon/supervisor/swap_area.hpp"
#include "daemon/supervisor/swap_off_fit.hpp"
#include "daemon/system/block_queue.hpp"
#include "daemon/system/cpu.hpp"
#include "daemon/system/log.hpp"

namespace vramswap {
namespace {

// A CUDA context takes 0.3 s; on a card that sleeps, with a cold driver, many times that.
constexpr std::chrono::seconds kStartTimeout{60};
// Allocation and scrubbing run at the speed of memory: the slowest case is host memory that the
// kernel must first free.
constexpr std::chrono::seconds kStoreTimeout{120};
// More threads take memory, locked for good, and bring nothing: it is one GPU behind one bus.
constexpr unsigned kMaxDefaultConnections = 8;
constexpr std::chrono::milliseconds kProgressInterval{250};
constexpr std::chrono::milliseconds kRecoveryPoll{20};
// After this the kernel sends a request again that nobody has answered: what a worker had received
// when it died waits as long, up to a second more, for the kernel's timer has whole seconds. It may
// strike a worker that is merely slow as well. That costs a new socket and no page, since a resent
// WRITE cannot overtake the first one (see write_fence.hpp), so it may be shorter than the slowest
// request of a busy machine ever was.
constexpr std::chrono::milliseconds kRequestTimeout{500};

std::chrono::seconds doze_after(const control::UpRequest& request) {
  const bool saves_power = request.backend == control::Backend::vram;
  return request.doze_after.value_or(saves_power ? control::kDefaultDozeAfter
                                                 : std::chrono::seconds(0));
}

std::string describe_segments(const std::vector<control::SegmentStatus>& segments) {
  std::uint64_t total = 0;
  for (const auto& segment : segments) total += segment.size_bytes;
  return fmt::format("{} on {}{}", control::format_bytes(total), segments.front().device,
                     segments.size() == 1 ? "" : " to " + segments.back().device);
}

}  // namespace

// One operation at a time; the next one is refused, not queued.
class Pool::Busy {
 public:
  explicit Busy(Pool& pool) : pool_(pool) { pool_.is_busy_ = true; }
  ~Busy() { pool_.is_busy_ = false; }
  Busy(const Busy&) = delete;

 private:
  Pool& pool_;
};

std::string Pool::Segment::path() const {
  return has_device() ? device_path(nbd_index) : "";
}

std::vector<unsigned> Pool::Segment::unconnected_threads() const {
  std::vector<unsigned> threads;
  for (unsigned thread = 0; thread < connections.size(); ++thread) {
    if (connections[thread] == 0) threads.push_back(thread);
  }
  return threads;
}

// An earlier scratch segment that is being removed is gone in a moment.
awaitable<void> Pool::wait_where_scratch() {
  while (purpose_ == Purpose::scratch && is_busy_) co_await sleep(kRecoveryPoll);
}

awaitable<Result<void>> Pool::up(control::UpRequest request) {
  co_await wait_where_scratch();
  if (is_busy_) co_return fail("another up or down is in progress");
  if (is_up() && purpose_ == Purpose::scratch) co_return fail("another vramswap bench runs");
  if (is_up()) {
    const auto now = segments();
    co_return fail(fmt::format("up already: {}; run 'vramswap down' first",
                               now ? describe_segments(*now) : "see 'vramswap status'"));
  }
  const Busy busy(*this);
  request_ = std::move(request);
  pool_id_ = std::random_device{}();
  is_cancelled_ = false;
  auto result = co_await bring_up();
  if (!result) co_await release_all();
  co_return result;
}

awaitable<Result<void>> Pool::bring_up() {
  auto nbd = co_await open_nbd(io_);
  if (!nbd) co_return nbd.error();
  nbd_ = *std::move(nbd);
  connections_ = request_.connections != 0
                     ? request_.connections
                     : std::min(count_physical_cores(), kMaxDefaultConnections);

  auto selectors = request_.gpus;
  if (selectors.empty() || request_.backend == control::Backend::ram) selectors = {""};
  std::vector<StoreDeviceInfo> infos;
  for (const std::string& selector : selectors) {
    auto& device = *devices_.emplace_back(std::make_unique<Device>());
    device.index = devices_.size() - 1;
    device.start = {.backend = request_.backend,
                    .gpu = selector,
                    .io_threads = connections_,
                    .rendezvous = worker_socket::path(runtime_directory_, device.index),
                    .doze_after = doze_after(request_),
                    .hang_timeout = request_.hang_timeout};
    if (auto result = co_await start_worker(device); !result) co_return result;
    const auto& info = device.info;
    if (std::ranges::find(infos, info.uuid, &StoreDeviceInfo::uuid) != infos.end()) {
      co_return fail(fmt::format("gpu '{}': is {} ({}), which was given already", selector,
                                 info.name, info.uuid));
    }
    infos.push_back(info);
    // The first card may be another one after a restart.
    if (!info.uuid.empty()) device.start.gpu = info.uuid;
  }
  // While there is memory.
  size_reserve();
  while (!reserve_.is_full()) {
    if (auto result = reserve_.fill_step(); !result) co_return result;
  }
  const auto plan = plan_pool(request_, infos);
  if (!plan) co_return plan.error();

  // All memory first: what does not fit fails before the kernel has heard of anything.
  for (const SegmentPlan& planned : *plan) {
    auto& segment = *segments_.emplace_back(std::make_unique<Segment>());
    segment.id = static_cast<std::uint32_t>(segments_.size() - 1);
    segment.device = devices_[planned.device].get();
    segment.plan = planned;
    if (auto result = co_await create_store(segment); !result) co_return result;
    if (auto result = advance(segment, SegmentEvent::store_created); !result) co_return result;
    store_memory(segment);
  }
  // Before the kernel writes a page.
  co_await publish();
  for (const auto& segment : segments_) {
    if (auto result = co_await connect(*segment); !result) co_return result;
    if (auto result = co_await activate(*segment); !result) co_return result;
  }
  co_return Result<void>{};
}

awaitable<Result<void>> Pool::start_worker(Device& device) {
  auto worker = WorkerProcess::spawn(io_, handlers_of(device.index));
  if (!worker) co_return worker.error();
  device.worker = *std::move(worker);
  auto answer = co_await device.worker->call(device.start, {}, kStartTimeout);
  if (!answer) co_return answer.error();
  const auto* started = std::get_if<messages::Started>(&answer->message);
  if (started == nullptr) co_return fail("worker: an unexpected answer to its start");
  device.info = started->device;
  const auto resident = read_resident_bytes(fmt::format("/proc/{}/status", device.worker->pid()));
  if (!resident) co_return resident.error();
  device.worker_bytes = *resident;
  co_return Result<void>{};
}

awaitable<Result<void>> Pool::create_store(Segment& segment) {
  if (!segment.page_map) {
    auto page_map = PageMap::create(segment.page_count(), HostMemory::unswappable);
    if (!page_map) co_return page_map.error();
    segment.page_map = *std::move(page_map);
  }
  const messages::Create create{segment.id, segment.plan.size_bytes};
  std::vector<int> fds{segment.page_map.get()};
  auto answer = co_await segment.device->worker->call(create, std::move(fds), kStoreTimeout);
  if (!answer) co_return answer.error();
  if (answer->fds.size() != 1) co_return fail("worker: no descriptor of a new store");
  segment.store = std::move(answer->fds[0]);
  segment.is_in_worker = true;
  co_return Result<void>{};
}

awaitable<Result<void>> Pool::connect(Segment& segment) {
  auto pairs = make_socket_pairs(connections_);
  if (!pairs) co_return pairs.error();
  segment.connections.assign(connections_, 0);
  auto served = co_await serve(segment, pairs->worker_ends, segment.unconnected_threads());
  if (!served) co_return served.error();
  for (const auto& name : *served) segment.connections[name.thread] = name.id;
  const auto index = nbd_->connect({.size_bytes = segment.plan.size_bytes,
                                    .block_size_bytes = kPageBytes,
                                    .server_flags = transmission::kServerFlags,
                                    // Explicitly the default of 30 s: a device keeps what its last
                                    // user had set.
                                    .timeout = std::chrono::seconds(0),
                                    .dead_connection_timeout = request_.reconnect_timeout,
                                    .backend_identifier = backend_identifier(segment),
                                    .sockets = raw(pairs->kernel_ends)});
  if (!index) co_return index.error();
  segment.nbd_index = *index;
  co_return advance(segment, SegmentEvent::device_connected);
}

// Hands sockets to the worker, one for each of `threads`.
awaitable<Result<std::vector<messages::ConnectionName>>> Pool::serve(
    Segment& segment, const std::vector<UniqueFd>& sockets, std::vector<unsigned> threads) {
  messages::Connect connect{segment.id, {}};
  for (const unsigned thread : threads) {
    connect.connections.push_back({++segment.last_connection, thread});
  }
  auto answer = co_await segment.device->worker->call(connect, raw(sockets), kStoreTimeout);
  if (!answer) co_return answer.error();
  co_return std::move(connect.connections);
}

awaitable<Result<void>> Pool::activate(Segment& segment) {
  auto set = set_queue_for_swap(device_name(segment.nbd_index), transmission::kMaxTransferBytes,
                                kRequestTimeout);
  if (!set || purpose_ == Purpose::scratch) co_return set;
  auto made = co_await make_swap_area(io_, segment.path());
  if (!made) co_return made;
  auto on = co_await swap_on(io_, segment.path(), segment.plan.priority);
  if (!on) co_return on;
  co_return advance(segment, SegmentEvent::swap_on);
}

awaitable<Result<void>> Pool::down(bool force, ProgressSink progress) {
  co_await wait_where_scratch();
  if (is_busy_) co_return fail("another up or down is in progress");
  if (!is_up()) co_return fail("nothing is up");
  const Busy busy(*this);
  auto off = co_await swap_off_all(force, progress);
  if (!off) co_return off;
  co_await release_all();
  if (is_up()) co_return fail("not everything could be freed; see the log");
  co_return Result<void>{};
}

void Pool::cancel_down() {
  is_cancelled_ = true;
  if (swap_off_child_ != nullptr) swap_off_child_->kill();
}

awaitable<Result<void>> Pool::swap_off_all(bool force, const ProgressSink& progress) {
  is_cancelled_ = false;
  const auto areas = read_swap_areas();
  if (!areas) co_return areas.error();
  if (!force) {
    const auto memory = read_memory_info();
    if (!memory) co_return memory.error();
    if (auto fits = check_swap_off_fits(*memory, *areas, swap_paths()); !fits) co_return fits;
  }
  const std::uint64_t total = used_bytes();
  Result<void> result;
  std::vector<Segment*> swapped_off;
  // The lowest rank first: it is the emptiest, and its pages may go to the others only.
  for (const auto& segment : std::views::reverse(segments_)) {
    if (segment->state != SegmentState::active && segment->state != SegmentState::interrupted)
      continue;
    const auto device = std::make_shared<const std::string>(segment->path());
    if (progress) asio::co_spawn(io_, report_progress(device, total, progress), asio::detached);
    result = co_await swap_off(*segment);
    if (!result) break;
    swapped_off.push_back(segment.get());
  }
  if (result) co_return result;
  for (Segment* segment : std::views::reverse(swapped_off)) {
    if (auto on = co_await activate(*segment); !on) log_error(on.error().message);
  }
  if (is_cancelled_) co_return fail("cancelled: the swap is up as before");
  co_return std::unexpected(Error{result.error().message + "; the swap is up as before"});
}

awaitable<Result<void>> Pool::swap_off(Segment& segment) {
  if (is_cancelled_) co_return fail("cancelled");
  // Also refuses an interrupted segment: swapoff would lose what it could not read.
  if (auto result = advance(segment, SegmentEvent::swap_off_started); !result) co_return result;
  const std::string path = segment.path();
  auto child = start_swap_off(io_, path);
  Result<void> result = child ? Result<void>{} : std::unexpected(child.error());
  if (child) {
    swap_off_child_ = &*child;
    const int status = co_await child->wait();
    swap_off_child_ = nullptr;
    result = swap_off_result(path, status);
  }
  // Somebody else has done it: systemd does when the machine shuts down.
  if (const auto areas = read_swap_areas();
      !result && areas && std::ranges::find(*areas, path, &SwapArea::path) == areas->end()) {
    result = {};
  }
  const auto advanced =
      advance(segment, result ? SegmentEvent::swap_off_done : SegmentEvent::swap_off_failed);
  co_return result ? advanced : result;
}

// Until `device` is no swap area any more, or its swapoff has ended otherwise.
awaitable<void> Pool::report_progress(std::shared_ptr<const std::string> device,
                                      std::uint64_t total_bytes, ProgressSink progress) {
  const auto is_swapping_off = [&] {
    return std::ranges::any_of(segments_, [&](const auto& segment) {
      return segment->state == SegmentState::swapping_off && segment->path() == *device;
    });
  };
  while (co_await sleep(kProgressInterval), is_swapping_off()) {
    const std::uint64_t left = std::min(used_bytes(), total_bytes);
    progress({*device, total_bytes - left, total_bytes});
  }
}

// Frees what can be freed, from whatever state; what cannot stays up and is logged.
awaitable<void> Pool::release_all() {
  // All devices first: a worker that dies meanwhile is replaced for what is left of them only.
  for (const auto& segment : std::views::reverse(segments_)) {
    if (auto result = co_await release_device(*segment); !result) log_error(result.error().message);
  }
  for (const auto& segment : std::views::reverse(segments_)) {
    if (auto result = co_await release_store(*segment); !result) log_error(result.error().message);
  }
  co_await drop_released();
}

awaitable<void> Pool::drop_released() {
  // Where nothing stays up, they end soon.
  const bool is_last = std::ranges::all_of(
      segments_, [](const auto& segment) { return segment->state == SegmentState::planned; });
  while (is_last && recoveries_ > 0) co_await sleep(kRecoveryPoll);
  std::erase_if(segments_,
                [](const auto& segment) { return segment->state == SegmentState::planned; });
  if (is_up()) co_return;
  is_dismissing_ = true;
  for (const auto& device : devices_) {
    if (device->worker) co_await device->worker->dismiss();
  }
  for (const auto& device : devices_) unlink(device->start.rendezvous.c_str());
  devices_.clear();
  forget_description();
  reserve_.release();
  is_dismissing_ = false;
}

awaitable<Result<void>> Pool::release(Segment& segment) {
  if (auto gone = co_await release_device(segment); !gone) co_return gone;
  co_return co_await release_store(segment);
}

awaitable<Result<void>> Pool::release_device(Segment& segment) {
  if (segment.state == SegmentState::active) {
    if (auto off = co_await swap_off(segment); !off) co_return off;
  }
  if (segment.state == SegmentState::connected || segment.state == SegmentState::stranded) {
    if (auto gone = disconnect_device(*nbd_, segment.nbd_index); !gone) co_return gone;
    if (auto result = advance(segment, SegmentEvent::device_disconnected); !result)
      co_return result;
  }
  co_return Result<void>{};
}

awaitable<Result<void>> Pool::release_store(Segment& segment) {
  if (segment.state != SegmentState::allocated) co_return Result<void>{};
  auto scrubbed = co_await scrub(segment);
  // Once more where the worker has died of it: the memory is held here.
  const auto& worker = segment.device->worker;
  if (!scrubbed && worker && !worker->is_running()) scrubbed = co_await scrub(segment);
  if (!scrubbed) {
    log_error(fmt::format("segment {}: freed without being scrubbed: {}", segment.id,
                          scrubbed.error().message));
  }
  forget_memory(segment);
  segment.store.reset();
  co_return advance(segment, SegmentEvent::store_released);
}

awaitable<Result<void>> Pool::scrub(Segment& segment) {
  if (auto result = co_await ensure_worker(*segment.device); !result) co_return result;
  const messages::Remove remove{segment.id};
  const auto answer = co_await segment.device->worker->call(remove, {}, kStoreTimeout);
  if (!answer) co_return answer.error();
  co_return Result<void>{};
}

Result<std::vector<control::SegmentStatus>> Pool::segments() const {
  const auto areas = read_swap_areas();
  if (!areas) return areas.error();
  std::vector<control::SegmentStatus> list;
  for (const auto& segment : segments_) {
    control::SegmentStatus status{.device = segment->path(),
                                  .size_bytes = segment->plan.size_bytes,
                                  .used_bytes = 0,
                                  .priority = segment->plan.priority,
                                  .backend = request_.backend,
                                  .store = segment->device->info.name,
                                  .gpu_uuid = segment->device->info.uuid,
                                  .state = std::string(to_string(segment->state)),
                                  .generation = segment->generation,
                                  .lost_pages = segment->lost_pages,
                                  .lost_at = segment->lost_at};
    const auto area = std::ranges::find(*areas, status.device, &SwapArea::path);
    if (area != areas->end()) {
      status.used_bytes = area->used_bytes;
      status.priority = area->priority;
    }
    list.push_back(std::move(status));
  }
  return list;
}

std::vector<control::WorkerStatus> Pool::workers() const {
  std::vector<control::WorkerStatus> list;
  for (const auto& device : devices_) {
    const auto& worker = device->worker;
    const bool is_running = worker && worker->is_running();
    list.push_back({.store = device->info.name,
                    .gpu_uuid = device->info.uuid,
                    .pid = is_running ? worker->pid() : 0,
                    .state = is_running ? std::string(to_string(worker->state())) : "dead",
                    .restarts = device->restarts,
                    .last_pause_ms = device->last_pause.count(),
                    .problem = device->problem,
                    .io = is_running ? worker->stats() : std::nullopt});
  }
  return list;
}

awaitable<void> Pool::refresh_stats() const {
  // Of its own, for devices may go meanwhile. All are asked before one is waited for.
  std::vector<std::shared_ptr<WorkerProcess>> workers;
  for (const auto& device : devices_) {
    if (device->worker) workers.push_back(device->worker);
  }
  for (const auto& worker : workers) worker->request_stats();
  for (const auto& worker : workers) co_await worker->await_stats();
}

Result<void> Pool::advance(Segment& segment, SegmentEvent event) {
  const auto next = next_state(segment.state, event);
  if (!next) {
    return fail(fmt::format("segment {}{}{}: {}: not while it is {}", segment.id,
                            segment.has_device() ? " on " : "", segment.path(), to_string(event),
                            to_string(segment.state)));
  }
  segment.state = *next;
  return {};
}

std::vector<std::string> Pool::swap_paths() const {
  std::vector<std::string> paths;
  for (const auto& segment : segments_) {
    if (segment->has_device()) paths.push_back(segment->path());
  }
  return paths;
}

std::uint64_t Pool::used_bytes() const {
  const auto now = segments();
  std::uint64_t used = 0;
  if (now) {
    for (const auto& segment : *now) used += segment.used_bytes;
  }
  return used;
}

std::string Pool::backend_identifier(const Segment& segment) const {
  return fmt::format("{}{}", identifier_prefix(), segment.id);
}

std::string Pool::identifier_prefix() const {
  return is_up() ? fmt::format("{}{:08x}-", device_prefix(purpose_), pool_id_) : "";
}

awaitable<void> Pool::sleep(std::chrono::milliseconds duration) {
  asio::steady_timer timer(io_, duration);
  ErrorCode ignored;
  co_await timer.async_wait(into(ignored));
}

}  // namespace vramswap
