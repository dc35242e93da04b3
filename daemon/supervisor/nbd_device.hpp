// Kernel devices made of socketpairs.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "daemon/supervisor/asio.hpp"
#include "netlink/nbd_client.hpp"

namespace vramswap {

// Loads the nbd module where the kernel does not have it yet.
awaitable<Result<netlink::NbdClient>> open_nbd(asio::io_context& io);

// Sockets for a device: one end of each for the kernel, the other for the worker.
struct SocketPairs {
  std::vector<UniqueFd> kernel_ends;
  std::vector<UniqueFd> worker_ends;
};
Result<SocketPairs> make_socket_pairs(unsigned count);

// Descriptors as calls take them.
std::vector<int> raw(const std::vector<UniqueFd>& fds);

inline std::string device_name(std::uint32_t index) {
  return "nbd" + std::to_string(index);
}
inline std::string device_path(std::uint32_t index) {
  return "/dev/" + device_name(index);
}

// DISCONNECT, unless `device` is a swap area: the kernel would not refuse, and every process with
// pages there would die.
Result<void> disconnect_device(netlink::NbdClient& nbd, std::uint32_t index);

}  // namespace vramswap
