// The part of Pool that outlives the supervisor: what the next one is told, and how it takes over.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <ranges>
#include <utility>

#include "daemon/handover/page_map.hpp"
#include "daemon/handover/worker_socket.hpp"
#include "daemon/supervisor/leftovers.hpp"
#include "daemon/supervisor/nbd_device.hpp"
#include "daemon/supervisor/pool.hpp"
#include "daemon/system/log.hpp"

namespace vramswap {
namespace {

// A worker answers at once, unless it is busy with an allocation or a scrub.
constexpr std::chrono::seconds kAdoptTimeout{60};

constexpr std::string_view kDescriptionName = "pool";

std::string description_name(std::uint64_t sequence) {
  return fmt::format("{}-{}", kDescriptionName, sequence);
}
std::string page_map_name(std::uint32_t segment) {
  return fmt::format("page-map-{}", segment);
}
std::string store_name(std::uint32_t segment) {
  return fmt::format("store-{}", segment);
}

UniqueFd take(NamedFds& fds, const std::string& name) {
  const auto found = fds.find(name);
  return found == fds.end() ? UniqueFd() : std::move(found->second);
}

// As worker_socket::path has it, or a number that no device has.
std::size_t device_index(const std::string& path) {
  std::size_t index = SIZE_MAX;
  std::from_chars(path.data() + path.rfind('-') + 1, path.data() + path.size(), index);
  return index;
}

}  // namespace

PoolDescription Pool::describe() const {
  PoolDescription description{.sequence = sequence_,
                              .pool_id = pool_id_,
                              .request = request_,
                              .connections = connections_,
                              .devices = {},
                              .segments = {}};
  for (const auto& device : devices_) {
    description.devices.push_back(
        {device->start, device->info, device->worker_bytes, device->restarts});
  }
  for (const auto& segment : segments_) {
    description.segments.push_back({.id = segment->id,
                                    .device = static_cast<std::uint32_t>(segment->device->index),
                                    .size_bytes = segment->plan.size_bytes,
                                    .priority = segment->plan.priority,
                                    .generation = segment->generation,
                                    .lost_pages = segment->lost_pages,
                                    .lost_at = segment->lost_at});
  }
  return description;
}

awaitable<Result<void>> Pool::describe_to(Device& device) {
  const messages::Describe text{encode(describe())};
  const auto answer = co_await device.worker->call(text, {}, kAdoptTimeout);
  if (!answer) co_return answer.error();
  co_return Result<void>{};
}

// The new description is in the service manager's store before the old one leaves it.
awaitable<void> Pool::publish() {
  ++sequence_;
  for (const auto& device : devices_) {
    if (device->is_recovering || !device->worker || !device->worker->is_running()) continue;
    if (const auto told = co_await describe_to(*device); !told) log_error(told.error().message);
  }
  const std::string text = encode(describe());
  auto file = create_host_memory("vramswap-pool", text.size(), HostMemory::unswappable);
  if (!file || pwrite(file->get(), text.data(), text.size(), 0) < 0) {
    log_error(file ? errno_error("pool description", "pwrite", errno).message
                   : file.error().message);
    co_return;
  }
  description_ = *std::move(file);
  put_in_fd_store(description_name(sequence_), description_.get());
  wait_for_fd_store();
  take_out_of_fd_store(description_name(sequence_ - 1));
}

void Pool::forget_description() {
  take_out_of_fd_store(description_name(sequence_));
  description_.reset();
}

void Pool::store_memory(const Segment& segment) const {
  put_in_fd_store(page_map_name(segment.id), segment.page_map.get());
  put_in_fd_store(store_name(segment.id), segment.store.get());
}

void Pool::forget_memory(const Segment& segment) const {
  take_out_of_fd_store(page_map_name(segment.id));
  take_out_of_fd_store(store_name(segment.id));
}

NamedFds Pool::memory() const {
  NamedFds fds;
  if (!is_up()) return fds;
  fds[std::string(kDescriptionName)] = description_.duplicate();
  for (const auto& segment : segments_) {
    fds[page_map_name(segment->id)] = segment->page_map.duplicate();
    if (segment->store) fds[store_name(segment->id)] = segment->store.duplicate();
  }
  return fds;
}

awaitable<Result<void>> Pool::adopt(NamedFds inherited) {
  auto met = co_await meet_workers();
  if (!met) co_return met.error();
  const auto description = read_description(inherited, *met);
  if (!description) co_return description.error();
  if (!*description) co_return co_await dismiss_strangers(*std::move(met));
  auto nbd = co_await open_nbd(io_);
  if (!nbd) co_return nbd.error();
  nbd_ = *std::move(nbd);
  rebuild(**description, *met);
  for (const auto& segment : segments_) {
    auto taken = co_await take_memory(*segment, inherited);
    if (!taken) co_return taken;
  }
  auto found = find_devices();
  if (!found) co_return found;
  size_reserve();
  is_busy_ = true;
  asio::co_spawn(io_, finish_adoption(), asio::detached);
  co_return Result<void>{};
}

// The latest that there is, if any.
Result<std::optional<PoolDescription>> Pool::read_description(const NamedFds& inherited,
                                                              const std::vector<Met>& met) {
  std::optional<PoolDescription> latest;
  const auto consider = [&](std::string_view text) -> Result<void> {
    auto description = decode_pool_description(text);
    if (!description) return description.error();
    if (!latest || latest->sequence < description->sequence) latest = *std::move(description);
    return {};
  };
  for (const auto& [name, fd] : inherited) {
    if (!name.starts_with(kDescriptionName)) continue;
    const auto text = read_file(fmt::format("/proc/self/fd/{}", fd.get()));
    if (!text) return text.error();
    if (auto result = consider(*text); !result) return result.error();
  }
  for (const Met& worker : met) {
    if (worker.state.description.empty()) continue;
    if (auto result = consider(worker.state.description); !result) {
      return result.error();
    }
  }
  // The latest one goes when the next one is published.
  for (const auto& [name, fd] : inherited) {
    const bool is_latest = latest && name == description_name(latest->sequence);
    if (name.starts_with(kDescriptionName) && !is_latest) take_out_of_fd_store(name);
  }
  return latest;
}

awaitable<Result<std::vector<Pool::Met>>> Pool::meet_workers() {
  std::vector<Met> met;
  for (const std::string& path : worker_socket::find(runtime_directory_)) {
    const std::size_t index = device_index(path);
    auto worker = WorkerProcess::meet(io_, path, handlers_of(index));
    if (!worker) {
      if (worker.error().code != ECONNREFUSED) co_return worker.error();
      unlink(path.c_str());
      continue;
    }
    const messages::Adopt adopt;
    auto answer = co_await (*worker)->call(adopt, {}, kAdoptTimeout);
    // It was ending, with nothing left that anybody needs, or dies at this very moment.
    if (!answer && !(*worker)->is_running()) continue;
    if (!answer) {
      co_return std::unexpected(
          Error{fmt::format("worker {} cannot be taken over, and serves on: {}", (*worker)->pid(),
                            answer.error().message),
                answer.error().code});
    }
    auto* adopted = std::get_if<messages::Adopted>(&answer->message);
    if (adopted == nullptr) co_return fail("worker: an unexpected answer to its adoption");
    met.push_back({index, *std::move(worker), std::move(*adopted)});
  }
  co_return met;
}

// Workers that nobody has described: their supervisor died before the kernel knew of them.
awaitable<Result<void>> Pool::dismiss_strangers(std::vector<Met> met) {
  for (Met& stranger : met) {
    for (const auto& segment : stranger.state.segments) {
      if (!segment.connections.empty()) {
        co_return fail(fmt::format("worker {} serves a device, but does not know of which pool",
                                   stranger.worker->pid()));
      }
      const messages::Remove remove{segment.id};
      const auto answer = co_await stranger.worker->call(remove, {}, kAdoptTimeout);
      if (!answer) log_error(answer.error().message);
    }
    is_dismissing_ = true;
    co_await stranger.worker->dismiss();
    is_dismissing_ = false;
  }
  co_return Result<void>{};
}

void Pool::rebuild(const PoolDescription& description, std::vector<Met>& met) {
  sequence_ = description.sequence;
  pool_id_ = description.pool_id;
  request_ = description.request;
  connections_ = description.connections;
  for (const auto& known : description.devices) {
    auto& device = *devices_.emplace_back(std::make_unique<Device>());
    device.index = devices_.size() - 1;
    device.start = known.start;
    device.info = known.info;
    device.worker_bytes = known.worker_bytes;
    device.restarts = known.restarts;
    const auto worker = std::ranges::find(met, device.index, &Met::index);
    if (worker != met.end()) device.worker = worker->worker;
  }
  for (const auto& known : description.segments) {
    auto& segment = *segments_.emplace_back(std::make_unique<Segment>());
    segment.id = known.id;
    segment.device = devices_[known.device].get();
    segment.plan = {known.device, known.size_bytes, known.priority};
    segment.generation = known.generation;
    segment.lost_pages = known.lost_pages;
    segment.lost_at = known.lost_at;
    segment.connections.assign(connections_, 0);
  }
  for (const Met& worker : met) {
    for (const auto& held : worker.state.segments) {
      Segment* segment = find_segment(held.id);
      if (segment == nullptr || segment->device->worker != worker.worker) continue;
      segment->is_in_worker = true;
      for (const auto& connection : held.connections) {
        segment->connections.at(connection.thread) = connection.id;
        segment->last_connection = std::max(segment->last_connection, connection.id);
      }
    }
  }
}

awaitable<Result<void>> Pool::take_memory(Segment& segment, NamedFds& inherited) {
  segment.page_map = take(inherited, page_map_name(segment.id));
  segment.store = take(inherited, store_name(segment.id));
  if (segment.page_map && segment.store) co_return Result<void>{};
  if (!segment.is_in_worker) {
    // Only together: a page map without its store would call pages valid that are not there.
    segment.store.reset();
    co_return Result<void>{};
  }
  const messages::HandOver hand_over{segment.id};
  auto answer = co_await segment.device->worker->call(hand_over, {}, kAdoptTimeout);
  if (!answer) co_return answer.error();
  if (answer->fds.size() != 2) co_return fail("worker: hands over no memory");
  segment.page_map = std::move(answer->fds[0]);
  segment.store = std::move(answer->fds[1]);
  co_return Result<void>{};
}

// What the kernel has of each segment.
Result<void> Pool::find_devices() {
  const auto areas = read_swap_areas();
  if (!areas) return areas.error();
  const auto found = find_our_devices(purpose_);
  for (const auto& segment : segments_) {
    const auto device =
        std::ranges::find(found, backend_identifier(*segment), &NbdDevice::identifier);
    const bool has_device = device != found.end();
    if (has_device) segment->nbd_index = device->index;
    const bool is_swap = has_device && std::ranges::find(*areas, device_path(segment->nbd_index),
                                                         &SwapArea::path) != areas->end();
    const auto& worker = segment->device->worker;
    segment->state = state_as_found(has_device, is_swap, worker && worker->is_running());
    // Its memory went with those that died: nothing is known of its pages but that they are lost.
    if (!segment->page_map && has_device) {
      auto page_map = PageMap::create(segment->page_count(), HostMemory::unswappable);
      if (!page_map) return page_map.error();
      segment->page_map = *std::move(page_map);
      auto pages = PageMap::map(segment->page_map.get(), segment->page_count());
      if (!pages) return pages.error();
      pages->set(0, segment->page_count(), PageState::lost);
      ++segment->generation;
    }
    if (!has_device && !segment->store) segment->state = SegmentState::planned;
  }
  std::erase_if(segments_,
                [](const auto& segment) { return segment->state == SegmentState::planned; });
  return {};
}

// Brings the workers back that died too, and undoes what the dead supervisor had half done.
awaitable<void> Pool::finish_adoption() {
  for (const auto& device : devices_) {
    if (!device->worker || !device->worker->is_running()) {
      start_recovery(*device);
    } else if (const auto result = co_await complete(*device); !result) {
      log_error(result.error().message);
      device->worker->kill();
    }
  }
  for (const auto& segment : std::views::reverse(segments_)) {
    if (segment->state == SegmentState::active || segment->state == SegmentState::interrupted) {
      store_memory(*segment);
      continue;
    }
    if (auto result = co_await release(*segment); !result) log_error(result.error().message);
  }
  co_await drop_released();
  if (is_up()) {
    co_await publish();
    log_info(
        fmt::format("took over the swap of an earlier vramswapd: {} segments", segments_.size()));
    asio::co_spawn(io_, fill_reserve(), asio::detached);
  }
  is_busy_ = false;
}

// Gives a worker that lives what it lacks: its supervisor may have died while it was being made.
awaitable<Result<void>> Pool::complete(Device& device) {
  for (Segment* segment : segments_of(device)) {
    if (!segment->is_in_worker) {
      if (auto result = co_await restore_store(*segment); !result) co_return result;
    }
    if (segment->has_device()) {
      if (auto result = co_await reconnect(*segment); !result) co_return result;
    }
  }
  co_return Result<void>{};
}

}  // namespace vramswap
