// Netlink framing: datagrams, messages and attributes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace vramswap::netlink {

// All functions are pure. Buffers must be 4-byte aligned, as netlink messages are; allocated
// buffers always are. std::nullopt means that the kernel does not send such a message: a length
// points outside the buffer, or a value is missing.

/// The address of a request. The kernel repeats sequence and port in its answers.
struct RequestHeader {
  uint16_t family = 0;
  uint32_t port = 0;
  uint32_t sequence = 0;
};

/// One message of a received datagram. The payload points into the datagram.
struct Message {
  uint16_t type = 0;
  uint16_t flags = 0;
  uint32_t sequence = 0;
  uint32_t port = 0;
  std::span<const std::byte> payload;
};

std::optional<std::vector<Message>> split_datagram(std::span<const std::byte> datagram);

/// The kernel's ACK (code 0) or NACK (code is a positive errno) of a request, with its extack text.
struct Ack {
  int code = 0;
  std::string extack;
};

/// Decodes a message of type NLMSG_ERROR.
std::optional<Ack> decode_ack(const Message& message);

/// The part of the kernel's answer to one request that has been received.
struct Answer {
  std::vector<std::byte> reply;  ///< payload of the reply; empty if the command has none
  std::optional<Ack> ack;        ///< the last message of an answer
};

/// Adds the messages of the datagram that answer `request` to `answer`. Skips answers to other
/// requests, which are left over from exchanges that the caller gave up. False: the datagram is
/// malformed.
[[nodiscard]] bool collect_answer(std::span<const std::byte> datagram, const RequestHeader& request,
                                  Answer& answer);

/// The attributes in the payload of a generic netlink message. std::nullopt: it is not a `command`.
std::optional<std::span<const std::byte>> genl_attributes(std::span<const std::byte> payload,
                                                          uint8_t command);

/// The payload of the first attribute of the type.
std::optional<std::span<const std::byte>> find_attribute(std::span<const std::byte> attributes,
                                                         int type);
/// The same for a number. std::nullopt also if the attribute has another length.
std::optional<uint32_t> find_u32(std::span<const std::byte> attributes, int type);

}  // namespace vramswap::netlink
