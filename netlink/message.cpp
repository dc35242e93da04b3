#include "netlink/message.hpp"

#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <netlink/attr.h>

#include <algorithm>
#include <cstring>

namespace vramswap::netlink {
namespace {

/// MAX_ERRNO of include/linux/err.h.
constexpr int kMaxErrno = 4095;

/// A copy of the T at the beginning of `bytes`.
template <class T>
std::optional<T> read_header(std::span<const std::byte> bytes) {
  if (bytes.size() < sizeof(T)) return std::nullopt;
  T value;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

}  // namespace

std::optional<std::vector<Message>> split_datagram(std::span<const std::byte> datagram) {
  std::vector<Message> messages;
  while (!datagram.empty()) {
    const auto header = read_header<nlmsghdr>(datagram);
    if (!header || header->nlmsg_len < NLMSG_HDRLEN || header->nlmsg_len > datagram.size())
      return std::nullopt;
    messages.push_back(
        {.type = header->nlmsg_type,
         .flags = header->nlmsg_flags,
         .sequence = header->nlmsg_seq,
         .port = header->nlmsg_pid,
         .payload = datagram.subspan(NLMSG_HDRLEN, header->nlmsg_len - NLMSG_HDRLEN)});
    // The padding after the last message may be missing.
    datagram = datagram.subspan(std::min<size_t>(NLMSG_ALIGN(header->nlmsg_len), datagram.size()));
  }
  return messages;
}

std::optional<Ack> decode_ack(const Message& message) {
  const auto head = read_header<nlmsgerr>(message.payload);
  // The kernel sends negative errnos; any other value did not come from it.
  if (message.type != NLMSG_ERROR || !head || head->error > 0 || head->error < -kMaxErrno) {
    return std::nullopt;
  }
  Ack ack{.code = -head->error, .extack = {}};
  if (!(message.flags & NLM_F_ACK_TLVS)) return ack;

  // The attributes follow the header of the request, and its payload too unless that was capped:
  // ACKs always are, NACKs only on sockets with NETLINK_CAP_ACK.
  size_t offset = sizeof(nlmsgerr);
  if (!(message.flags & NLM_F_CAPPED)) {
    const size_t request_bytes = head->msg.nlmsg_len;
    if (request_bytes < NLMSG_HDRLEN || request_bytes > message.payload.size()) return std::nullopt;
    offset += NLMSG_ALIGN(request_bytes) - NLMSG_HDRLEN;
  }
  if (offset > message.payload.size()) return std::nullopt;
  if (const auto text = find_attribute(message.payload.subspan(offset), NLMSGERR_ATTR_MSG)) {
    const char* begin = reinterpret_cast<const char*>(text->data());
    ack.extack.assign(begin, strnlen(begin, text->size()));
  }
  return ack;
}

bool collect_answer(std::span<const std::byte> datagram, const RequestHeader& request,
                    Answer& answer) {
  const auto messages = split_datagram(datagram);
  if (!messages) return false;
  for (const Message& message : *messages) {
    if (message.sequence != request.sequence || message.port != request.port) continue;
    if (message.type == NLMSG_ERROR) {
      answer.ack = decode_ack(message);
      if (!answer.ack) return false;
    } else if (message.type == request.family) {
      answer.reply.assign(message.payload.begin(), message.payload.end());
    }
  }
  return true;
}

std::optional<std::span<const std::byte>> genl_attributes(std::span<const std::byte> payload,
                                                          uint8_t command) {
  const auto header = read_header<genlmsghdr>(payload);
  if (!header || header->cmd != command) return std::nullopt;
  return payload.subspan(GENL_HDRLEN);
}

std::optional<std::span<const std::byte>> find_attribute(std::span<const std::byte> attributes,
                                                         int type) {
  const nlattr* found = nla_find(reinterpret_cast<const nlattr*>(attributes.data()),
                                 static_cast<int>(attributes.size()), type);
  if (!found) return std::nullopt;
  return std::span(static_cast<const std::byte*>(nla_data(found)),
                   static_cast<size_t>(nla_len(found)));
}

std::optional<uint32_t> find_u32(std::span<const std::byte> attributes, int type) {
  const auto payload = find_attribute(attributes, type);
  if (!payload || payload->size() != sizeof(uint32_t)) return std::nullopt;
  return read_header<uint32_t>(*payload);
}

}  // namespace vramswap::netlink
