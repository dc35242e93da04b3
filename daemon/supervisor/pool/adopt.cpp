#include "daemon/supervisor/pool/adopt.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <memory>
#include <ranges>

#include "daemon/supervisor/pool/device_use.hpp"
#include "daemon/system/log.hpp"
#include "daemon/system/proc.hpp"

namespace vramswap {
namespace {

// A worker answers at once, unless it is busy with an allocation or a scrub.
constexpr std::chrono::seconds kAdoptTimeout{60};

// A worker that an earlier supervisor left.
struct ReattachedWorker {
  std::size_t slot = 0;  // the index of its slot
  std::shared_ptr<WorkerProcess> worker;
  messages::Adopted state = {};
  UniqueFd copy_notes = {};       // if it has any
  UniqueFd context_reserve = {};  // if it has one
  // The reports that came while there was no segment to hear them.
  std::vector<messages::ConnectionEnded> ended = {};
};
// With addresses that stay.
using ReattachedWorkers = std::vector<std::unique_ptr<ReattachedWorker>>;

// The number after the prefix, as worker_socket::path has it, or one that no slot has.
std::size_t slot_index(const std::string& path) {
  std::size_t index = SIZE_MAX;
  const std::size_t begin = path.rfind('/') + 1 + control::kWorkerSocketPrefix.size();
  if (begin < path.size()) std::from_chars(&path[begin], path.data() + path.size(), index);
  return index;
}

Error left_alone(const WorkerProcess& worker, const Error& error) {
  return {
      fmt::format(
          "worker {} cannot be taken over now, but keeps serving: {}. If it is stopped, continue "
          "it (kill -CONT {}). Do not kill it: it may hold the only copy of the swapped pages",
          worker.pid(), error.message, worker.pid()),
      error.code};
}

awaitable<Result<void>> reattach_workers(Machine& machine, std::string runtime_directory,
                                         ReattachedWorkers& workers) {
  for (const std::string& socket : machine.launcher.find_sockets(runtime_directory)) {
    auto link = machine.launcher.reattach(socket);
    if (!link) {
      if (link.error().code != ECONNREFUSED && link.error().code != ENOENT) co_return link.error();
      machine.launcher.remove_socket(socket);
      continue;
    }
    auto& reattached = *workers.emplace_back(std::make_unique<ReattachedWorker>());
    reattached.slot = slot_index(socket);
    reattached.worker = WorkerProcess::watch(machine, *std::move(link));
    reattached.worker->set_handlers(
        {.on_connection_ended =
             [&ended = reattached.ended](const auto& report) { ended.push_back(report); },
         .on_context_reserve = [&reserve = reattached.context_reserve](
                                   UniqueFd memory) { reserve = std::move(memory); }});
    const messages::Adopt adopt;
    auto answer = co_await reattached.worker->ask(adopt, {}, kAdoptTimeout);
    if (!answer && reattached.worker->is_running()) {
      co_return left_alone(*reattached.worker, answer.error());
    }
    if (!answer) {
      // It was ending, with nothing left that anybody needs, or it dies at this very moment.
      reattached.worker->abandon();
      workers.pop_back();
      continue;
    }
    auto* adopted = std::get_if<messages::Adopted>(&answer->message);
    if (adopted == nullptr) co_return fail("worker: an unexpected answer to its adoption");
    reattached.state = std::move(*adopted);
    if (!answer->fds.empty()) reattached.copy_notes = std::move(answer->fds[0]);
  }
  co_return Result<void>{};
}

// The latest description that there is, if any.
Result<std::optional<PoolDescription>> read_description(ServiceManager& manager,
                                                        const NamedFds& inherited,
                                                        const ReattachedWorkers& workers) {
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
  for (const auto& worker : workers) {
    if (worker->state.description.empty()) continue;
    if (auto result = consider(worker->state.description); !result) return result.error();
  }
  // The latest one goes when the next one is published.
  for (const auto& [name, fd] : inherited) {
    const bool is_latest = latest && name == description_name(latest->sequence);
    if (name.starts_with(kDescriptionName) && !is_latest) manager.remove_from_fdstore(name);
  }
  return latest;
}

// Memory that nobody has described: its supervisor died before the kernel knew of it, or after the
// kernel had forgotten it.
void forget_undescribed_memory(ServiceManager& manager, const NamedFds& inherited,
                               const std::optional<PoolDescription>& description) {
  for (const auto& [name, fd] : inherited) {
    const bool is_described =
        description && std::ranges::any_of(description->segments, [&](const auto& segment) {
          return is_memory_of(segment.id, name);
        });
    const std::size_t slots = description ? description->devices.size() : 0;
    const auto is_of_slot = [&](std::size_t slot) {
      return is_driver_of(slot, name) || is_context_reserve_of(slot, name);
    };
    const bool is_known =
        is_described || std::ranges::any_of(std::views::iota(0UZ, slots), is_of_slot);
    if (!name.starts_with(kDescriptionName) && !is_known) manager.remove_from_fdstore(name);
  }
}

// Workers that nobody has described: their supervisor died before the kernel knew of them.
awaitable<Result<void>> stop_unclaimed_workers(const ReattachedWorkers& workers) {
  for (const auto& unclaimed : workers) {
    auto& worker = *unclaimed->worker;
    bool is_empty = true;
    for (const auto& segment : unclaimed->state.segments) {
      if (!segment.connections.empty()) {
        co_return fail(fmt::format("worker {} serves a device, but has no description of its pool",
                                   worker.pid()));
      }
      const messages::Remove remove{segment.id};
      const auto answer = co_await worker.ask(remove, {}, kAdoptTimeout);
      if (!answer && answer.error().code == ETIMEDOUT) {
        co_return left_alone(worker, answer.error());
      }
      if (!answer) log_error(answer.error().message);
      is_empty = is_empty && answer.has_value();
    }
    if (is_empty) {
      co_await worker.dismiss();
    } else {
      worker.abandon();  // it ends by itself, unless somebody needs it after all
    }
  }
  co_return Result<void>{};
}

// The slots with their workers, and the segments as the workers know them.
Result<PoolParts> build_parts(Machine& machine, const PoolOptions& options,
                              RecoveryReserve& reserve, StatePublisher& publisher,
                              const PoolDescription& description,
                              const ReattachedWorkers& workers) {
  PoolParts parts{.request = description.request,
                  .pool_id = description.pool_id,
                  .settings = SegmentSettings::of(options, description.request, description.pool_id,
                                                  description.connections),
                  .is_going_down = description.is_going_down,
                  .slots = {},
                  .segments = {},
                  .loans = {}};
  parts.loans.restore(description.loans);
  for (const auto& known : description.devices) {
    auto& slot = *parts.slots.emplace_back(
        std::make_unique<WorkerSlot>(machine, reserve, publisher, parts.slots.size(), known));
    // One that was started by a supervisor which died at once may be there, too, with nothing.
    ReattachedWorker* best = nullptr;
    for (const auto& worker : workers) {
      if (worker->slot != slot.index() || !worker->worker->is_running()) continue;
      const bool holds_more =
          best == nullptr || worker->state.segments.size() > best->state.segments.size();
      if (holds_more) best = worker.get();
    }
    if (best != nullptr) {
      slot.adopt(best->worker, std::move(best->copy_notes), std::move(best->context_reserve));
    }
  }
  for (const auto& known : description.segments) {
    auto& slot = *parts.slots[known.device];
    auto& segment = *parts.segments.emplace_back(
        std::make_unique<Segment>(machine, parts.settings, slot, publisher, known));
    for (const auto& worker : workers) {
      if (worker->worker != slot.worker()) continue;
      const auto held =
          std::ranges::find(worker->state.segments, known.id, &messages::Adopted::Segment::id);
      if (held == worker->state.segments.end()) continue;
      if (auto result = segment.adopt_from_worker(*held); !result) return result.error();
      for (const auto& ended : worker->ended) {
        if (ended.segment == known.id) segment.on_connection_ended(ended);
      }
    }
  }
  return parts;
}

// What the kernel has of each segment. Those of which nothing is left go.
awaitable<Result<void>> find_devices(Machine& machine, const PoolOptions& options,
                                     PoolParts& parts) {
  const auto devices = machine.nbd.find_devices(options.device_prefix);
  // What holds a device without swap may be ending, such as the dead supervisor's mkswap.
  for (const NbdDevice& device : devices) {
    if (!device.identifier.starts_with(parts.settings.identifier_prefix)) continue;
    (void)co_await check_unused(machine, device_path(device.index));
  }
  const auto areas = machine.swap.areas();
  if (!areas) co_return areas.error();
  for (const auto& segment : parts.segments) {
    if (auto found = segment->adopt_device(devices, *areas, parts.is_going_down); !found)
      co_return found;
  }
  std::erase_if(parts.segments, [](const auto& segment) { return segment->is_gone(); });
  co_return Result<void>{};
}

// If this adoption fails, the next attempt has it, whatever has become of the worker that said it.
void keep_description(const PoolDescription& description, HostMemory memory, NamedFds& inherited) {
  auto file = description_file(encode(description), memory);
  if (!file) return log_error(file.error().message);
  inherited[description_name(description.sequence)] = *std::move(file);
}

awaitable<Result<PoolParts>> adopt_from(Machine& machine, const PoolOptions& options,
                                        RecoveryReserve& reserve, StatePublisher& publisher,
                                        NamedFds& inherited, ReattachedWorkers& workers) {
  auto reattached = co_await reattach_workers(machine, options.runtime_directory, workers);
  if (!reattached) co_return reattached.error();
  const auto description = read_description(machine.service_manager, inherited, workers);
  if (!description) co_return description.error();
  forget_undescribed_memory(machine.service_manager, inherited, *description);
  if (!*description) {
    auto stopped = co_await stop_unclaimed_workers(workers);
    if (!stopped) co_return stopped.error();
    co_return PoolParts{};
  }
  keep_description(**description, publisher.memory(), inherited);
  if (auto opened = co_await machine.nbd.open(); !opened) co_return opened.error();
  publisher.continue_from((*description)->sequence);
  auto parts = build_parts(machine, options, reserve, publisher, **description, workers);
  if (!parts) co_return parts.error();
  for (const auto& slot : parts->slots) slot->inherit(inherited);
  for (const auto& segment : parts->segments) {
    auto adopted = co_await segment->adopt_memory(inherited);
    if (adopted) continue;
    const auto worker = segment->worker();
    if (worker && worker->is_running()) co_return left_alone(*worker, adopted.error());
    // Without this worker it goes on.
    co_return Error{adopted.error().message, worker ? EAGAIN : adopted.error().code};
  }
  if (auto found = co_await find_devices(machine, options, *parts); !found) co_return found.error();
  co_return parts;
}

}  // namespace

awaitable<Result<PoolParts>> adopt(Machine& machine, const PoolOptions& options,
                                   RecoveryReserve& reserve, StatePublisher& publisher,
                                   NamedFds& inherited) {
  ReattachedWorkers workers;
  auto parts = co_await adopt_from(machine, options, reserve, publisher, inherited, workers);
  for (const auto& reattached : workers) {
    const auto& worker = reattached->worker;
    const bool is_used = parts && std::ranges::any_of(parts->slots, [&](const auto& slot) {
                           return slot->worker() == worker;
                         });
    if (!is_used) worker->abandon();
  }
  co_return parts;
}

bool adoption_may_succeed_later(const Error& error) {
  for (const int code :
       {ETIMEDOUT, ECONNRESET, EAGAIN, EINTR, EMSGSIZE, EMFILE, ENFILE, ENOMEM, ENOBUFS}) {
    if (error.code == code) return true;
  }
  return false;
}

awaitable<Result<void>> disconnect_leftovers(Machine& machine, std::string device_prefix,
                                             std::string adopted) {
  for (const NbdDevice& device : machine.nbd.find_devices(device_prefix)) {
    if (!adopted.empty() && device.identifier.starts_with(adopted)) continue;
    const auto areas = machine.swap.areas();
    if (!areas) co_return areas.error();
    const std::string path = device_path(device.index);
    if (is_swap_area(*areas, path)) {
      co_return Error{
          fmt::format("{} is swap of a vramswapd that has died together with its worker, and its "
                      "pages are lost: swapoff {} by hand",
                      path, path),
          EOWNERDEAD};
    }
    if (auto unused = co_await check_unused(machine, path); !unused) {
      const bool is_used = unused.error().code == EBUSY;
      co_return Error{
          fmt::format("a vramswapd that has died left a device: {}", unused.error().message),
          is_used ? EOWNERDEAD : unused.error().code};
    }
    if (auto opened = co_await machine.nbd.open(); !opened) co_return opened;
    if (auto gone = machine.nbd.disconnect(device.index); !gone) co_return gone;
    log_info(fmt::format("{}: left by a vramswapd that has died; disconnected", path));
  }
  co_return Result<void>{};
}

}  // namespace vramswap
