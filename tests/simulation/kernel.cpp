#include "tests/simulation/kernel.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "daemon/base/page_size.hpp"
#include "tests/simulation/world.hpp"

namespace vramswap::simulation {
namespace {

using namespace std::chrono_literals;

constexpr std::chrono::seconds kDefaultDeadTimeout{0};

}  // namespace

Result<SocketPairs> Kernel::make_socket_pairs(unsigned count) {
  if (world_.faults.no_descriptors_until > world_.now()) {
    return fail_errno("nbd socket", "socketpair", EMFILE);
  }
  SocketPairs pairs;
  for (unsigned i = 0; i < count; ++i) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
      return fail_errno("nbd socket", "socketpair", errno);
    }
    ++last_pair_;
    for (const int end : ends) pairs_[inode_of(end)] = last_pair_;
    pairs.kernel_ends.emplace_back(ends[0]);
    pairs.worker_ends.emplace_back(ends[1]);
  }
  return pairs;
}

std::uint64_t Kernel::pair_of(int socket) const {
  const auto found = pairs_.find(inode_of(socket));
  return found == pairs_.end() ? 0 : found->second;
}

Result<std::uint32_t> Kernel::connect(const netlink::ConnectRequest& request) {
  const auto fault = std::exchange(world_.faults.netlink, {});
  if (fault && !fault->takes_effect) return fail_errno("nbd", "CONNECT", fault->code);
  std::uint32_t index = 0;
  while (devices_.contains(index)) ++index;
  Device& device = devices_[index];
  device.index = index;
  device.identifier = request.backend_identifier;
  device.page_count = request.size_bytes / kPageBytes;
  device.dead_timeout = request.dead_connection_timeout.value_or(kDefaultDeadTimeout);
  device.unserved_since = world_.now();
  for (const int socket : request.sockets) {
    device.connections.push_back({duplicate(socket), pair_of(socket), false});
  }
  world_.note("kernel: CONNECT {} as {}", device.path(), device.identifier);
  if (fault) return fail_errno("nbd", "CONNECT", fault->code);
  return index;
}

// Each new socket takes the place of one that is known to be dead; where there is none, it is
// dropped, and nobody is told.
Result<void> Kernel::reconfigure(const netlink::ReconfigureRequest& request) {
  // The caller closes its ends of those that are not taken.
  sockets_changed_ = true;
  const auto fault = std::exchange(world_.faults.netlink, {});
  if (fault && !fault->takes_effect) {
    return fail_errno(device_name(request.index), "RECONFIGURE", fault->code);
  }
  const auto found = devices_.find(request.index);
  if (found == devices_.end() || !found->second.is_connected ||
      found->second.identifier != request.backend_identifier) {
    return fail_errno(device_name(request.index), "RECONFIGURE", EINVAL);
  }
  Device& device = found->second;
  if (request.dead_connection_timeout) device.dead_timeout = *request.dead_connection_timeout;
  if (!request.sockets.empty() && world_.faults.refused_sockets > 0) {
    --world_.faults.refused_sockets;
    world_.note("kernel: drops the new sockets of {}", device.path());
    return {};
  }
  for (const int socket : request.sockets) {
    const auto dead = std::ranges::find(device.connections, true, &KernelConnection::is_dead);
    if (dead == device.connections.end()) break;
    *dead = {duplicate(socket), pair_of(socket), false};
    world_.note("kernel: {} has a new socket", device.path());
  }
  if (fault) return fail_errno(device_name(request.index), "RECONFIGURE", fault->code);
  return {};
}

Result<void> Kernel::disconnect(std::uint32_t index) {
  const auto fault = std::exchange(world_.faults.netlink, {});
  if (fault && !fault->takes_effect)
    return fail_errno(device_name(index), "DISCONNECT", fault->code);
  const auto found = devices_.find(index);
  if (found == devices_.end()) return fail_errno(device_name(index), "DISCONNECT", EINVAL);
  if (found->second.is_swap) {
    world_.violate(fmt::format("DISCONNECT of {}, which is swap", found->second.path()));
  }
  for (KernelConnection& connection : found->second.connections) {
    if (!connection.is_dead) drop(found->second, connection, ConnectionEnd::disconnected);
  }
  world_.note("kernel: DISCONNECT {}", found->second.path());
  devices_.erase(found);
  if (fault) return fail_errno(device_name(index), "DISCONNECT", fault->code);
  return {};
}

std::vector<NbdDevice> Kernel::find_devices(std::string_view prefix) const {
  std::vector<NbdDevice> found;
  for (const auto& [index, device] : devices_) {
    if (device.is_connected && device.identifier.starts_with(prefix)) {
      found.push_back({index, device.identifier});
    }
  }
  return found;
}

Device* Kernel::find(const std::string& path) {
  for (auto& [index, device] : devices_) {
    if (device.path() == path) return &device;
  }
  return nullptr;
}

HeldSegment* Kernel::server_of(const Device& device) {
  if (!device.is_connected) return nullptr;
  for (const KernelConnection& connection : device.connections) {
    if (connection.is_dead) continue;
    for (const auto& worker : world_.workers.living()) {
      if (!worker->takes_requests()) continue;
      if (HeldSegment* segment = worker->segment_of(connection.pair)) return segment;
    }
  }
  return nullptr;
}

// The choice among all devices, or among those that are swap.
Device* Kernel::choose(std::uint64_t choice, bool is_swap) {
  std::vector<Device*> candidates;
  for (auto& [index, device] : devices_) {
    if (device.is_connected && (device.is_swap || !is_swap)) candidates.push_back(&device);
  }
  return candidates.empty() ? nullptr : candidates[choice % candidates.size()];
}

void Kernel::drop(Device& device, KernelConnection& connection, ConnectionEnd end) {
  connection.is_dead = true;
  connection.socket.reset();
  world_.note("kernel: drops a socket of {}", device.path());
  for (const auto& worker : world_.workers.living()) {
    if (worker->segment_of(connection.pair) == nullptr) continue;
    world_.after(world_.some_latency(),
                 [worker, pair = connection.pair, end] { worker->on_socket_end(pair, end); });
  }
}

// The kernel notices within milliseconds.
void Kernel::on_worker_end(const SimWorker& worker) {
  for (const auto& [id, segment] : worker.segments) {
    for (const auto& [name, connection] : segment.connections) {
      world_.after(world_.some_latency() * 10, [this, pair = connection.pair] {
        for (auto& [index, device] : devices_) {
          for (KernelConnection& known : device.connections) {
            if (known.pair != pair) continue;
            known.is_dead = true;
            known.socket.reset();
          }
        }
      });
    }
  }
}

void Kernel::drop_connection(std::uint64_t choice) {
  Device* device = choose(choice, false);
  if (device == nullptr || device->connections.empty()) return;
  KernelConnection& connection = device->connections[(choice >> 8) % device->connections.size()];
  if (!connection.is_dead) drop(*device, connection, ConnectionEnd::hung_up);
}

// With several connections, the request timer takes a slow one for dead.
void Kernel::drop_slow_connections(const SimWorker& worker) {
  world_.after(1s, [this, &worker, self = worker.shared_from_this()] {
    if (!worker.is_alive || !worker.is_stopped()) return;
    for (auto& [index, device] : devices_) {
      if (device.connections.size() < 2 || !device.is_swap) continue;
      for (KernelConnection& connection : device.connections) {
        if (!connection.is_dead &&
            std::const_pointer_cast<SimWorker>(self)->segment_of(connection.pair) != nullptr) {
          drop(device, connection, ConnectionEnd::hung_up);
        }
      }
    }
  });
}

void Kernel::disconnect_by_hand(std::uint64_t choice) {
  Device* device = choose(choice, false);
  if (device == nullptr) return;
  world_.note("somebody else disconnects {}", device->path());
  was_touched_by_others_ = true;
  world_.clients.disturb();
  for (KernelConnection& connection : device->connections) {
    if (!connection.is_dead) drop(*device, connection, ConnectionEnd::disconnected);
  }
  if (!device->is_swap) {
    devices_.erase(device->index);
    return;
  }
  device->is_connected = false;
  for (const auto& [page, content] : device->pages) device->destroyed.insert(page);
}

void Kernel::end_refused_connections() {
  for (const auto& worker : world_.workers.living()) {
    for (const auto& [id, segment] : worker->segments) {
      for (const auto& [name, connection] : segment.connections) {
        pollfd end{connection.socket.get(), POLLRDHUP, 0};
        if (poll(&end, 1, 0) == 0) continue;
        world_.after(world_.some_latency(), [worker, pair = connection.pair] {
          worker->on_socket_end(pair, ConnectionEnd::hung_up);
        });
      }
    }
  }
}

void Kernel::check() {
  if (std::exchange(sockets_changed_, false)) end_refused_connections();
  for (auto& [index, device] : devices_) {
    HeldSegment* segment = server_of(device);
    if (segment != nullptr) device.store = segment->store;
    if (segment == nullptr && device.is_served) device.unserved_since = world_.now();
    device.is_served = segment != nullptr;
    if (!device.is_swap || device.pages.size() == device.destroyed.size()) continue;
    if (device.store && device.store->is_freed() && !world_.may_be_freed(*device.store)) {
      world_.violate(fmt::format("the last descriptor of the store of {} is closed, and it is swap",
                                 device.path()));
    }
  }
}

}  // namespace vramswap::simulation
