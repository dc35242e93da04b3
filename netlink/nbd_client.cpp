#include "netlink/nbd_client.hpp"

#include <fmt/format.h>
#include <linux/nbd-netlink.h>

#include <cerrno>
#include <optional>
#include <utility>

namespace vramswap::netlink {
namespace {

std::string device_name(std::optional<uint32_t> index) {
  return index ? fmt::format("nbd{}", *index) : NBD_GENL_FAMILY_NAME;
}

/// An error whose cause is not known yet.
Error about(std::string operation, std::optional<uint32_t> index = std::nullopt) {
  return {.operation = std::move(operation), .object = device_name(index), .code = 0, .extack = {}};
}

std::unexpected<Error> failed(Error error, int code, std::string extack = {}) {
  error.code = code;
  error.extack = std::move(extack);
  return std::unexpected(std::move(error));
}

}  // namespace

Result<NbdClient> NbdClient::open() {
  auto socket = GenlSocket::open();
  if (!socket) return failed(about("open netlink socket"), socket.error());
  const auto family = socket->resolve_family(NBD_GENL_FAMILY_NAME);
  if (!family) return failed(about("resolve netlink family"), family.error());
  return NbdClient(std::move(*socket), *family);
}

RequestHeader NbdClient::next_header() {
  return {.family = family_, .port = socket_.port(), .sequence = socket_.next_sequence()};
}

Result<std::vector<std::byte>> NbdClient::exchange(Error error, const RequestHeader& header,
                                                   const EncodedRequest& request) {
  if (!request) return failed(std::move(error), request.error());
  if (const auto sent = socket_.send(*request); !sent)
    return failed(std::move(error), sent.error());

  Answer answer;
  while (!answer.ack) {
    const auto datagram = socket_.receive();
    // The answer was queued before sendmsg() returned, so an empty queue will stay empty. EAGAIN
    // would invite the caller to send a CONNECT twice.
    if (!datagram)
      return failed(std::move(error), datagram.error() == EAGAIN ? ENODATA : datagram.error());
    if (!collect_answer(*datagram, header, answer)) return failed(std::move(error), EBADMSG);
  }
  if (answer.ack->code != 0)
    return failed(std::move(error), answer.ack->code, std::move(answer.ack->extack));
  return std::move(answer.reply);
}

Result<uint32_t> NbdClient::connect(const ConnectRequest& request) {
  const auto header = next_header();
  const auto error = about("CONNECT", request.index);
  const auto reply = exchange(error, header, encode_connect(header, request));
  if (!reply) return reply.error();
  // If the driver finds no memory for the reply, it continues without one.
  if (reply->empty() && request.index) return *request.index;
  if (reply->empty()) return failed(error, ENODATA);
  const auto index = decode_connect_reply(*reply);
  if (!index) return failed(error, EBADMSG);
  return *index;
}

Result<void> NbdClient::reconfigure(const ReconfigureRequest& request) {
  const auto header = next_header();
  const auto reply =
      exchange(about("RECONFIGURE", request.index), header, encode_reconfigure(header, request));
  if (!reply) return reply.error();
  return {};
}

Result<void> NbdClient::disconnect(uint32_t index) {
  const auto header = next_header();
  const auto reply = exchange(about("DISCONNECT", index), header, encode_disconnect(header, index));
  if (!reply) return reply.error();
  return {};
}

}  // namespace vramswap::netlink
