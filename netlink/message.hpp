#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace vramswap::netlink {

// Netlink framing as pure functions. Buffers must be 4-byte aligned, as everything in netlink is;
// what was received into an allocated buffer always is. std::nullopt means: not what the kernel
// sends, a length points outside the buffer or a value is missing.

/// Addresses a request; the kernel repeats sequence and port in its answers.
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

/// The kernel's ack on a request: 0 (ACK) or a positive errno (NACK) and what it says about it.
struct Ack {
  int code = 0;
  std::string extack;
};

/// Decodes a message of type NLMSG_ERROR.
std::optional<Ack> decode_ack(const Message& message);

/// What the kernel has answered to one request so far.
struct Answer {
  std::vector<std::byte> reply;  ///< payload of the reply; empty where the command has none
  std::optional<Ack> ack;        ///< comes last
};

/// Adds what a datagram holds for `request` to `answer`. Answers to other requests are left-overs
/// of exchanges that were given up, and skipped. False: the datagram is malformed.
[[nodiscard]] bool collect_answer(std::span<const std::byte> datagram, const RequestHeader& request,
                                  Answer& answer);

/// The attributes in the payload of a generic netlink message, if it carries `command`.
std::optional<std::span<const std::byte>> genl_attributes(std::span<const std::byte> payload,
                                                          uint8_t command);

/// The payload of the first attribute of a type.
std::optional<std::span<const std::byte>> find_attribute(std::span<const std::byte> attributes,
                                                         int type);
/// The same for a number. Its length must be that of the number.
std::optional<uint32_t> find_u32(std::span<const std::byte> attributes, int type);

}  // namespace vramswap::netlink
