// Requests to the kernel's nbd driver.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "netlink/error.hpp"
#include "netlink/genl_socket.hpp"
#include "netlink/nbd_messages.hpp"

namespace vramswap::netlink {

/// Sends requests to the kernel's nbd driver. The kernel handles a generic netlink request inside
/// the sendmsg() call, in the caller's thread. So socket fds are those of the calling process, and
/// the answer is in the receive queue when sendmsg() returns. Calls here never wait for an answer;
/// only the work of the driver takes time. Needs CAP_SYS_ADMIN. Not for concurrent use.
///
/// Error codes besides the driver's: ENOBUFS, ENODATA and EBADMSG mean that the answer was lost or
/// unreadable, so the request may have taken effect: /sys/block/nbdN/pid is there while nbdN is
/// connected. ENOENT means that the module has been unloaded since open().
class NbdClient {
 public:
  /// ENOENT: the nbd module is not loaded (older modules lack the alias that would load them).
  [[nodiscard]] static Result<NbdClient> open();

  /// Returns the index of the device. EBUSY: the requested device is connected, or a process has it
  /// open. EINVAL: no size, no sockets, a socket of the wrong kind, or several sockets without
  /// NBD_FLAG_CAN_MULTI_CONN.
  [[nodiscard]] Result<uint32_t> connect(const ConnectRequest& request);

  /// Success does not mean that the device uses the sockets: each replaces a dead one, and the
  /// driver silently drops those for which it finds none. Then the peer sees the end of the
  /// connection as soon as the fd is closed. EINVAL: not connected, or the backend identifier is
  /// not the one given to CONNECT.
  [[nodiscard]] Result<void> reconfigure(const ReconfigureRequest& request);

  /// Disconnects the device at once, even under a mounted file system or active swap: the kernel
  /// does not refuse. Succeeds if the device was not connected; EINVAL if it does not exist. The
  /// device stays busy until the last process that has it open closes it.
  [[nodiscard]] Result<void> disconnect(uint32_t index);

 private:
  NbdClient(GenlSocket socket, uint16_t family) : socket_(std::move(socket)), family_(family) {}

  RequestHeader next_header();
  /// Sends a request and returns the payload of the reply, empty if there is none. `error` has the
  /// operation and the object; on failure, returns it with the code added.
  Result<std::vector<std::byte>> exchange(Error error, const RequestHeader& header,
                                          const EncodedRequest& request);

  GenlSocket socket_;
  uint16_t family_;
};

}  // namespace vramswap::netlink
