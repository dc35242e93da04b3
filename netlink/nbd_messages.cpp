#include "netlink/nbd_messages.hpp"

#include <linux/nbd-netlink.h>
#include <netlink/attr.h>

#include "netlink/message_writer.hpp"

namespace vramswap::netlink {
namespace {

/// More than the attributes of fixed size take in any request.
constexpr size_t kFixedAttributeBytes = 256;

size_t attribute_bytes(const std::string& backend_identifier, const std::vector<int>& sockets) {
  const size_t socket_bytes = nla_total_size(nla_total_size(sizeof(uint32_t)));
  // libnl pads strings with their terminating zero to a multiple of four.
  const size_t identifier_bytes = backend_identifier.size() + 8;
  return kFixedAttributeBytes + identifier_bytes + sockets.size() * socket_bytes;
}

void put_common(MessageWriter& writer, const std::optional<std::chrono::seconds>& timeout,
                const std::optional<std::chrono::seconds>& dead_connection_timeout,
                const std::string& backend_identifier, const std::vector<int>& sockets) {
  if (timeout) writer.put_u64(NBD_ATTR_TIMEOUT, timeout->count());
  if (dead_connection_timeout)
    writer.put_u64(NBD_ATTR_DEAD_CONN_TIMEOUT, dead_connection_timeout->count());
  if (!backend_identifier.empty())
    writer.put_string(NBD_ATTR_BACKEND_IDENTIFIER, backend_identifier);
  nlattr* list = writer.begin_nested(NBD_ATTR_SOCKETS);
  for (const int fd : sockets) {
    nlattr* item = writer.begin_nested(NBD_SOCK_ITEM);
    writer.put_u32(NBD_SOCK_FD, static_cast<uint32_t>(fd));
    writer.end_nested(item);
  }
  writer.end_nested(list);
}

}  // namespace

EncodedRequest encode_connect(const RequestHeader& header, const ConnectRequest& request) {
  MessageWriter writer(header, NBD_CMD_CONNECT, NBD_GENL_VERSION,
                       attribute_bytes(request.backend_identifier, request.sockets));
  if (request.index) writer.put_u32(NBD_ATTR_INDEX, *request.index);
  writer.put_u64(NBD_ATTR_SIZE_BYTES, request.size_bytes);
  writer.put_u64(NBD_ATTR_BLOCK_SIZE_BYTES, request.block_size_bytes);
  writer.put_u64(NBD_ATTR_SERVER_FLAGS, request.server_flags);
  // Sent even if zero: absent, the kernel keeps the DESTROY_ON_DISCONNECT of the previous user.
  writer.put_u64(NBD_ATTR_CLIENT_FLAGS, request.client_flags);
  put_common(writer, request.timeout, request.dead_connection_timeout, request.backend_identifier,
             request.sockets);
  return writer.finish();
}

EncodedRequest encode_reconfigure(const RequestHeader& header, const ReconfigureRequest& request) {
  MessageWriter writer(header, NBD_CMD_RECONFIGURE, NBD_GENL_VERSION,
                       attribute_bytes(request.backend_identifier, request.sockets));
  writer.put_u32(NBD_ATTR_INDEX, request.index);
  put_common(writer, request.timeout, request.dead_connection_timeout, request.backend_identifier,
             request.sockets);
  return writer.finish();
}

EncodedRequest encode_disconnect(const RequestHeader& header, uint32_t index) {
  MessageWriter writer(header, NBD_CMD_DISCONNECT, NBD_GENL_VERSION, kFixedAttributeBytes);
  writer.put_u32(NBD_ATTR_INDEX, index);
  return writer.finish();
}

std::optional<uint32_t> decode_connect_reply(std::span<const std::byte> payload) {
  const auto attributes = genl_attributes(payload, NBD_CMD_CONNECT);
  if (!attributes) return std::nullopt;
  return find_u32(*attributes, NBD_ATTR_INDEX);
}

}  // namespace vramswap::netlink
