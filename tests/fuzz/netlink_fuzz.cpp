// A datagram of the kernel's nbd driver. No length in it leads outside of it. The same bytes are
// the arguments of a request, and the encoded request must contain these attributes.
#include <linux/nbd-netlink.h>
#include <linux/netlink.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "netlink/message.hpp"
#include "netlink/nbd_messages.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace vramswap::netlink {
namespace {

using fuzz::require;
using Bytes = std::span<const std::byte>;

bool lies_in(Bytes part, Bytes whole) {
  return part.empty() ||
         (part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size());
}

void decode(Bytes datagram) {
  const auto messages = split_datagram(datagram);
  if (!messages) return;
  for (const Message& message : *messages) {
    require(lies_in(message.payload, datagram), "a payload lies in its datagram");
    if (const auto ack = decode_ack(message)) require(ack->code >= 0, "a code is an errno");
    (void)decode_connect_reply(message.payload);
    for (const int command : {NBD_CMD_CONNECT, NBD_CMD_STATUS}) {
      const auto attributes = genl_attributes(message.payload, static_cast<std::uint8_t>(command));
      if (!attributes) continue;
      for (int type = 0; type <= NBD_ATTR_MAX; ++type) {
        const auto found = find_attribute(*attributes, type);
        require(!found || lies_in(*found, *attributes), "an attribute lies in its message");
      }
    }
    Answer answer;
    const bool is_good = collect_answer(
        datagram, {.family = message.type, .port = message.port, .sequence = message.sequence},
        answer);
    require(!is_good || answer.ack || message.type != NLMSG_ERROR, "an answer to us is taken");
  }
}

void encode(fuzz::Reader& input) {
  const RequestHeader header{.family = input.integer<std::uint16_t>(),
                             .port = input.integer<std::uint32_t>(),
                             .sequence = input.integer<std::uint32_t>()};
  const auto index = input.integer<std::uint32_t>();
  ConnectRequest request{.index = index, .size_bytes = input.integer<std::uint64_t>()};
  // Thousands of them do not fit into a message.
  const unsigned count = input.byte();
  request.sockets.assign(count == 255 ? 6000 : count % 16, input.byte());
  const auto identifier = input.bytes(300);
  request.backend_identifier = fuzz::as_text(identifier.data(), identifier.size());
  std::erase(request.backend_identifier, '\0');  // it is a string to the kernel

  const auto encoded = encode_connect(header, request);
  if (!encoded) return require(encoded.error() == EMSGSIZE, "the only error is EMSGSIZE");
  const auto messages = split_datagram(*encoded);
  require(messages && messages->size() == 1, "a request is one message");
  const Message& message = messages->front();
  require(message.type == header.family && message.port == header.port &&
              message.sequence == header.sequence,
          "a request has the header that it was given");
  require(decode_connect_reply(message.payload) == index, "the index is found again");
  const auto attributes = genl_attributes(message.payload, NBD_CMD_CONNECT);
  require(attributes.has_value(), "a CONNECT is one");
  if (request.backend_identifier.empty()) return;
  const auto found = find_attribute(*attributes, NBD_ATTR_BACKEND_IDENTIFIER);
  require(found && fuzz::as_text(reinterpret_cast<const std::uint8_t*>(found->data()),
                                 found->size() - 1) == request.backend_identifier,
          "the identifier is found again");
}

}  // namespace
}  // namespace vramswap::netlink

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // Aligned as a datagram is, and as long as the input, for the address sanitizer.
  const std::vector<std::uint8_t> datagram(data, data + size);
  vramswap::netlink::decode(std::as_bytes(std::span(datagram)));
  vramswap::fuzz::Reader input({data, size});
  vramswap::netlink::encode(input);
  return 0;
}
