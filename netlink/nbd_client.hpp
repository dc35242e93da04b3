#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "netlink/error.hpp"
#include "netlink/genl_socket.hpp"
#include "netlink/nbd_messages.hpp"

namespace vramswap::netlink {

/// Talks to the kernel's nbd driver. The kernel handles a generic netlink request inside the
/// sendmsg() that brings it, in the caller's thread: socket fds are those of the calling process,
/// and when sendmsg() returns, the answer waits in the receive queue. So nothing here waits for an
/// answer; what may take time is the driver's own work. Needs CAP_SYS_ADMIN. Not for
/// concurrent use.
///
/// Codes besides the driver's: ENOBUFS, ENODATA or EBADMSG mean that the answer was lost or
/// unreadable, so the request may have taken effect: /sys/block/nbdN/pid is there while nbdN is
/// connected. ENOENT means that the module has been unloaded since open().
class NbdClient {
 public:
  /// ENOENT: the nbd module is not loaded (older modules lack the alias that would load them).
  [[nodiscard]] static Result<NbdClient> open();

  /// The index of the device. EBUSY: the one asked for is connected, or someone holds it open.
  /// EINVAL: no size, no sockets, a socket of the wrong kind, or several without
  /// NBD_FLAG_CAN_MULTI_CONN.
  [[nodiscard]] Result<uint32_t> connect(const ConnectRequest& request);

  /// Success does not mean that the sockets were taken: those for which no dead one is found are
  /// dropped silently, and then the peer sees the end of the connection once the fd is closed.
  /// EINVAL: not connected, or the backend identifier is not the one given to CONNECT.
  [[nodiscard]] Result<void> reconfigure(const ReconfigureRequest& request);

  /// Pulls the device away at once, also from under a mounted file system or active swap; the
  /// kernel does not refuse. Success if it was not connected; EINVAL if it does not exist. The
  /// device stays busy until the last one who has it open closes it.
  [[nodiscard]] Result<void> disconnect(uint32_t index);

 private:
  NbdClient(GenlSocket socket, uint16_t family) : socket_(std::move(socket)), family_(family) {}

  RequestHeader next_header();
  /// Sends a request and gathers the answer: the payload of the reply, empty if there is none. On
  /// failure fills in `error`, which comes with operation and object.
  Result<std::vector<std::byte>> exchange(Error error, const RequestHeader& header,
                                          const EncodedRequest& request);

  GenlSocket socket_;
  uint16_t family_;
};

}  // namespace vramswap::netlink
