#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "netlink/error.hpp"
#include "netlink/genl_socket.hpp"

namespace vramswap::netlink {

/// The driver's announcements of dead sockets, for a reactor. Open this before the first CONNECT,
/// or between opening and reconciling with the state of the devices: what died earlier is not told.
/// The driver multicasts into the initial network namespace only.
class NbdEvents {
 public:
  /// ENOENT: the nbd module is not loaded.
  [[nodiscard]] static Result<NbdEvents> open();

  /// Readable when read() has something to say.
  int fd() const { return socket_.fd(); }

  /// The devices that lost a socket since the last call, once for each socket; empty if nothing
  /// waits. Never blocks. Does not come for sockets that a DISCONNECT ends.
  /// ENOBUFS: the kernel dropped some, so any device may have lost sockets. NbdClient::status()
  /// does not tell; the other ends of the sockets do.
  [[nodiscard]] Result<std::vector<uint32_t>> read();

 private:
  NbdEvents(GenlSocket socket, uint16_t family) : socket_(std::move(socket)), family_(family) {}

  GenlSocket socket_;
  uint16_t family_;
};

}  // namespace vramswap::netlink
