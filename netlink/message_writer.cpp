#include "netlink/message_writer.hpp"

#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <netlink/attr.h>
#include <netlink/genl/genl.h>
#include <netlink/msg.h>

#include <cerrno>
#include <limits>
#include <new>

namespace vramswap::netlink {

void MessageWriter::Free::operator()(nl_msg* message) const noexcept {
  nlmsg_free(message);
}

MessageWriter::MessageWriter(const RequestHeader& header, uint8_t command, uint8_t version,
                             size_t attribute_bytes)
    : message_(nlmsg_alloc_size(NLMSG_HDRLEN + GENL_HDRLEN + attribute_bytes)) {
  if (!message_) throw std::bad_alloc();
  constexpr int kUserHeaderBytes = 0;
  failed_ = !genlmsg_put(message_.get(), header.port, header.sequence, header.family,
                         kUserHeaderBytes, NLM_F_REQUEST | NLM_F_ACK, command, version);
}

void MessageWriter::put_u32(int type, uint32_t value) {
  note(nla_put_u32(message_.get(), type, value));
}

void MessageWriter::put_u64(int type, uint64_t value) {
  note(nla_put_u64(message_.get(), type, value));
}

void MessageWriter::put_string(int type, const std::string& value) {
  // libnl does not notice when a length overflows the 16 bits of its field.
  failed_ |= NLA_HDRLEN + value.size() + 1 > std::numeric_limits<uint16_t>::max();
  if (!failed_) note(nla_put_string(message_.get(), type, value.c_str()));
}

nlattr* MessageWriter::begin_nested(int type) {
  nlattr* nested = nla_nest_start(message_.get(), type);
  failed_ |= !nested;
  return nested;
}

void MessageWriter::end_nested(nlattr* nested) {
  if (nested) note(nla_nest_end(message_.get(), nested));
}

std::expected<std::vector<std::byte>, int> MessageWriter::finish() {
  if (failed_) return std::unexpected(EMSGSIZE);
  const nlmsghdr* header = nlmsg_hdr(message_.get());
  const auto* begin = reinterpret_cast<const std::byte*>(header);
  return std::vector(begin, begin + header->nlmsg_len);
}

}  // namespace vramswap::netlink
