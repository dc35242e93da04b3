#include "tests/fake_machine/fake_nbd.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>

namespace vramswap::fake {
namespace {

// Whether the worker has its end open still.
bool is_alive(const UniqueFd& socket) {
  char byte = 0;
  return recv(socket.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) != 0;
}

}  // namespace

awaitable<Result<void>> FakeNbd::open() {
  co_return steps_.take("open nbd");
}

Result<SocketPairs> FakeNbd::make_socket_pairs(unsigned count) {
  if (refuse_sockets > 0) {
    --refuse_sockets;
    return fail_errno("nbd socket", "socketpair", EMFILE);
  }
  SocketPairs pairs;
  for (unsigned i = 0; i < count; ++i) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
      return fail_errno("nbd socket", "socketpair", errno);
    }
    pairs.kernel_ends.emplace_back(ends[0]);
    pairs.worker_ends.emplace_back(ends[1]);
  }
  return pairs;
}

Result<std::uint32_t> FakeNbd::connect(const netlink::ConnectRequest& request) {
  if (auto step = steps_.take("connect"); !step) return step.error();
  std::uint32_t index = 0;
  while (devices.contains(index)) ++index;
  Device& device = devices[index];
  device.identifier = request.backend_identifier;
  device.size_bytes = request.size_bytes;
  device.dead_timeout = request.dead_connection_timeout.value_or(device.dead_timeout);
  for (const int socket : request.sockets) device.sockets.push_back(duplicate(socket));
  if (lose_answers > 0) {
    --lose_answers;
    return fail_errno(device_name(index), "CONNECT", ENOBUFS);
  }
  return index;
}

Result<void> FakeNbd::reconfigure(const netlink::ReconfigureRequest& request) {
  const bool has_sockets = !request.sockets.empty();
  if (auto step = steps_.take(has_sockets ? "reconfigure" : "set timeout"); !step) return step;
  if (has_sockets) ++reconfigures;
  const auto device = devices.find(request.index);
  if (device == devices.end() || device->second.identifier != request.backend_identifier) {
    return fail_errno(device_name(request.index), "RECONFIGURE", EINVAL);
  }
  if (request.dead_connection_timeout) {
    device->second.dead_timeout = *request.dead_connection_timeout;
  }
  if (has_sockets && refuse_reconfigures > 0) {
    --refuse_reconfigures;
    return fail_errno(device_name(request.index), "RECONFIGURE", ENOBUFS);
  }
  if (has_sockets && drop_silently > 0) {
    --drop_silently;
    return {};
  }
  // Each new socket takes the place of a dead one; where there is none, it is dropped.
  for (const int socket : request.sockets) {
    for (UniqueFd& old : device->second.sockets) {
      if (is_alive(old)) continue;
      old = duplicate(socket);
      break;
    }
  }
  if (lose_answers > 0) {
    --lose_answers;
    return fail_errno(device_name(request.index), "RECONFIGURE", ENOBUFS);
  }
  return {};
}

Result<void> FakeNbd::disconnect(std::uint32_t index) {
  if (auto step = steps_.take(fmt::format("disconnect nbd{}", index)); !step) return step;
  if (refuses_disconnect) return fail_errno(device_name(index), "DISCONNECT", EBUSY);
  if (!stays(index)) devices.erase(index);
  return {};
}

Result<std::uint64_t> FakeNbd::set_queue(std::uint32_t index, std::uint64_t,
                                         std::chrono::milliseconds timeout) {
  if (auto step = steps_.take("set queue"); !step) return step.error();
  devices.at(index).request_timeout = timeout;
  return request_limits[index] = 128 << 10;
}

awaitable<Result<void>> FakeNbd::set_request_limit(std::uint32_t index,
                                                   std::uint64_t max_request_bytes) {
  auto step = steps_.take("set request limit");
  if (step) request_limits[index] = max_request_bytes;
  co_return step;
}

std::vector<NbdDevice> FakeNbd::find_devices(std::string_view prefix) const {
  std::vector<NbdDevice> found;
  for (const auto& [index, device] : devices) {
    if (device.identifier.starts_with(prefix)) found.push_back({index, device.identifier});
  }
  return found;
}

}  // namespace vramswap::fake
