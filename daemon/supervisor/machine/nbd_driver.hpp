// The kernel's nbd driver, and what sysfs says of its devices.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/supervisor/asio.hpp"
#include "netlink/nbd_client.hpp"

namespace vramswap {

// Sockets for a device: one end of each for the kernel, the other for the worker.
struct SocketPairs {
  std::vector<UniqueFd> kernel_ends;
  std::vector<UniqueFd> worker_ends;
};

// A device that is connected.
struct NbdDevice {
  std::uint32_t index;
  std::string identifier;  // the backend identifier that CONNECT gave it
};

class NbdDriver {
 public:
  virtual ~NbdDriver() = default;

  // To be called before connect, reconfigure and disconnect; again does no harm. Loads the module
  // where the kernel does not have it yet.
  virtual awaitable<Result<void>> open() = 0;

  virtual Result<SocketPairs> make_socket_pairs(unsigned count) = 0;

  // The next three: see netlink::NbdClient. The driver chooses the device; `index` is not looked
  // at.
  virtual Result<std::uint32_t> connect(const netlink::ConnectRequest& request) = 0;
  // Success does not mean that the kernel has kept the sockets.
  virtual Result<void> reconfigure(const netlink::ReconfigureRequest& request) = 0;
  // The kernel does not refuse it for a device that carries swap: the caller has looked. The
  // device gets the kernel's own request timeout back.
  virtual Result<void> disconnect(std::uint32_t index) = 0;

  // Sets the queue for swap, see set_queue_for_swap.
  virtual Result<std::uint64_t> set_queue(std::uint32_t index, std::uint64_t max_request_bytes,
                                          std::chrono::milliseconds request_timeout) = 0;
  // See the function of that name in block_queue.hpp. Newer kernels first wait for all requests
  // that are under way, so somebody must serve the device.
  virtual awaitable<Result<void>> set_request_limit(std::uint32_t index,
                                                    std::uint64_t max_request_bytes) = 0;

  // Connected devices whose identifier begins with `prefix`, in no order.
  virtual std::vector<NbdDevice> find_devices(std::string_view prefix) const = 0;
};

inline std::string device_name(std::uint32_t index) {
  return "nbd" + std::to_string(index);
}
inline std::string device_path(std::uint32_t index) {
  return "/dev/" + device_name(index);
}

// Descriptors as calls take them.
std::vector<int> raw(const std::vector<UniqueFd>& fds);

}  // namespace vramswap
