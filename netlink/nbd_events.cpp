#include "netlink/nbd_events.hpp"

#include <linux/nbd-netlink.h>

#include <cerrno>

#include "netlink/message.hpp"
#include "netlink/nbd_messages.hpp"

namespace vramswap::netlink {
namespace {

std::unexpected<Error> failed(const char* operation, int code) {
  return std::unexpected(Error{operation, NBD_GENL_FAMILY_NAME, code, {}});
}

}  // namespace

Result<NbdEvents> NbdEvents::open() {
  auto socket = GenlSocket::open();
  if (!socket) return failed("open netlink socket", socket.error());
  const auto family = socket->resolve_family(NBD_GENL_FAMILY_NAME);
  if (!family) return failed("resolve netlink family", family.error());
  if (const auto joined = socket->join_group(NBD_GENL_FAMILY_NAME, NBD_GENL_MCAST_GROUP_NAME);
      !joined)
    return failed("join netlink group", joined.error());
  return NbdEvents(std::move(*socket), *family);
}

Result<std::vector<uint32_t>> NbdEvents::read() {
  std::vector<uint32_t> indices;
  for (;;) {
    const auto datagram = socket_.receive();
    if (!datagram && datagram.error() == EAGAIN) return indices;
    if (!datagram) return failed("LINK_DEAD", datagram.error());
    const auto messages = split_datagram(*datagram);
    if (!messages) return failed("LINK_DEAD", EBADMSG);
    for (const Message& message : *messages) {
      if (message.type != family_) continue;
      if (const auto index = decode_link_dead(message.payload)) indices.push_back(*index);
    }
  }
}

}  // namespace vramswap::netlink
