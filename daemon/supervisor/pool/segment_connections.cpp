#include "daemon/supervisor/pool/segment_connections.hpp"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>

#include "daemon/handover/nbd_export.hpp"

namespace vramswap {
namespace {

// The worker takes sockets at once, unless it is busy with a scrub.
constexpr std::chrono::seconds kServeTimeout{120};
// The kernel notices a dead socket within milliseconds; before it has, it drops a new one.
constexpr std::chrono::milliseconds kOfferInterval{20};
constexpr unsigned kOffers = 50;
// A netlink call fails for a moment, where the kernel has no memory for it.
constexpr unsigned kDisconnects = 5;
constexpr std::chrono::milliseconds kDisconnectInterval{100};

// Whether anybody has the other end open.
bool is_connected(const UniqueFd& socket) {
  pollfd end{socket.get(), POLLRDHUP, 0};
  return poll(&end, 1, 0) == 0;
}

}  // namespace

SegmentConnections::SegmentConnections(Machine& machine, WorkerSlot& slot, std::uint32_t segment,
                                       unsigned count, std::string identifier)
    : machine_(machine),
      slot_(slot),
      segment_(segment),
      identifier_(std::move(identifier)),
      connections_(count, 0),
      restoring_(machine.io) {}

std::vector<unsigned> SegmentConnections::unconnected_threads() const {
  std::vector<unsigned> threads;
  for (unsigned thread = 0; thread < connections_.size(); ++thread) {
    if (connections_[thread] == 0) threads.push_back(thread);
  }
  return threads;
}

awaitable<Result<std::uint32_t>> SegmentConnections::connect(
    std::uint64_t size_bytes, std::chrono::seconds reconnect_timeout) {
  auto pairs = machine_.nbd.make_socket_pairs(static_cast<unsigned>(connections_.size()));
  if (!pairs) co_return pairs.error();
  const unsigned lost_workers = lost_workers_;
  auto served = co_await serve(pairs->worker_ends, unconnected_threads());
  if (!served) co_return served.error();
  // It may have died since it answered. The next one knows nothing of these sockets.
  if (lost_workers_ != lost_workers || !slot_.is_running()) {
    co_return fail("the worker died before its device was connected");
  }
  auto index = machine_.nbd.connect({.size_bytes = size_bytes,
                                     .block_size_bytes = kPageBytes,
                                     .server_flags = transmission::kServerFlags,
                                     // Explicitly the default of 30 s: a device keeps what its last
                                     // user had set.
                                     .timeout = std::chrono::seconds(0),
                                     .dead_connection_timeout = reconnect_timeout,
                                     .backend_identifier = identifier_,
                                     .sockets = raw(pairs->kernel_ends)});
  if (!index) {
    const auto found = find_device();
    if (!found) co_return index;
    index = *found;
  }
  for (const auto& name : *served) connections_[name.thread] = name.id;
  co_return index;
}

std::optional<std::uint32_t> SegmentConnections::find_device() const {
  for (const NbdDevice& device : machine_.nbd.find_devices(identifier_)) {
    if (device.identifier == identifier_) return device.index;
  }
  return std::nullopt;
}

// Hands sockets to the worker, one for each of `threads`.
awaitable<Result<std::vector<messages::ConnectionName>>> SegmentConnections::serve(
    const std::vector<UniqueFd>& sockets, std::vector<unsigned> threads) {
  messages::Connect connect{segment_, {}};
  for (const unsigned thread : threads) connect.connections.push_back({++last_id_, thread});
  auto answer = co_await slot_.call(connect, raw(sockets), kServeTimeout);
  if (!answer) co_return answer.error();
  co_return std::move(connect.connections);
}

awaitable<Result<void>> SegmentConnections::offer(std::uint32_t index) {
  const auto pass = co_await restoring_.enter_alone();
  auto offered = co_await offer_sockets(index);
  problem_ = offered ? "" : offered.error().message;
  are_refused_ = !offered && offered.error().code == EINVAL;
  co_return offered;
}

awaitable<Result<void>> SegmentConnections::restore(std::uint32_t index) {
  for (unsigned offers = 1;; ++offers) {
    auto offered = co_await offer(index);
    if (offered || offers == kOffers || !slot_.is_running() || are_refused()) co_return offered;
    co_await machine_.clock.sleep(kOfferInterval);
  }
}

awaitable<Result<void>> SegmentConnections::offer_sockets(std::uint32_t index) {
  auto threads = unconnected_threads();
  if (threads.empty()) co_return Result<void>{};
  auto pairs = machine_.nbd.make_socket_pairs(static_cast<unsigned>(threads.size()));
  if (!pairs) co_return pairs.error();
  const unsigned lost_workers = lost_workers_;
  const auto served = co_await serve(pairs->worker_ends, std::move(threads));
  if (!served) co_return served.error();
  if (lost_workers_ != lost_workers) {
    co_return fail(fmt::format("{}: the worker died while it was connected", device_path(index)));
  }
  const auto done = machine_.nbd.reconfigure(
      {.index = index, .backend_identifier = identifier_, .sockets = raw(pairs->kernel_ends)});
  // From now on only the kernel can have the other ends open: also after an error, for it is the
  // answer that may have been lost.
  pairs->kernel_ends.clear();
  for (std::size_t i = 0; i < served->size(); ++i) {
    const auto& name = (*served)[i];
    if (is_connected(pairs->worker_ends[i])) connections_[name.thread] = name.id;
  }
  if (are_complete()) co_return Result<void>{};
  if (!done) co_return done.error();
  co_return fail(fmt::format("{}: the kernel takes no new sockets", device_path(index)));
}

Result<void> SegmentConnections::set_dead_timeout(std::uint32_t index,
                                                  std::chrono::seconds timeout) const {
  return machine_.nbd.reconfigure({.index = index,
                                   .dead_connection_timeout = timeout,
                                   .backend_identifier = identifier_,
                                   .sockets = {}});
}

// A call that fails may have taken effect: the kernel drops its answer when it has no memory.
awaitable<Result<void>> SegmentConnections::disconnect(std::uint32_t index) {
  for (unsigned attempt = 1;; ++attempt) {
    auto gone = machine_.nbd.disconnect(index);
    if (gone) co_return gone;
    const auto devices = machine_.nbd.find_devices(identifier_);
    if (std::ranges::find(devices, index, &NbdDevice::index) == devices.end()) {
      co_return Result<void>{};
    }
    if (attempt == kDisconnects) co_return gone;
    co_await machine_.clock.sleep(kDisconnectInterval);
  }
}

void SegmentConnections::lose_all() {
  ++lost_workers_;
  std::ranges::fill(connections_, 0);
}

bool SegmentConnections::lose(std::uint32_t connection) {
  const auto slot = std::ranges::find(connections_, connection);
  if (slot == connections_.end()) return false;
  *slot = 0;
  return true;
}

Result<void> SegmentConnections::adopt(const messages::ConnectionName& connection) {
  if (connection.thread >= connections_.size()) {
    return fail(fmt::format("segment {}: a connection of I/O thread {}, of which there are {}",
                            segment_, connection.thread, connections_.size()));
  }
  connections_[connection.thread] = connection.id;
  last_id_ = std::max(last_id_, connection.id);
  return {};
}

void SegmentConnections::compare(const std::vector<messages::ConnectionName>& open) {
  for (std::uint32_t& connection : connections_) {
    const auto found = std::ranges::find(open, connection, &messages::ConnectionName::id);
    if (found == open.end()) connection = 0;
  }
  if (are_complete()) problem_.clear();
}

}  // namespace vramswap
