#include "daemon/worker/io/transmission.hpp"

#include <endian.h>

#include <cerrno>
#include <cstring>

namespace vramswap::transmission {
namespace {

// The layout on the wire. linux/nbd.h has no separate command flags, so it is declared here.
struct [[gnu::packed]] WireRequest {
  std::uint32_t magic;
  std::uint16_t flags;
  std::uint16_t command;
  std::uint64_t cookie;
  std::uint64_t offset;
  std::uint32_t length;
};
static_assert(sizeof(WireRequest) == kRequestBytes);

struct [[gnu::packed]] WireReply {
  std::uint32_t magic;
  std::uint32_t error;
  std::uint64_t cookie;
};
static_assert(sizeof(WireReply) == kReplyBytes);

bool is_transfer(const Request& request) {
  return request.command == NBD_CMD_READ || request.command == NBD_CMD_WRITE;
}

// Commands that name a range.
bool is_ranged(const Request& request) {
  return is_transfer(request) || request.command == NBD_CMD_TRIM ||
         request.command == kCommandWriteZeroes;
}

}  // namespace

std::optional<Request> decode_request(std::span<const std::byte, kRequestBytes> bytes) {
  WireRequest wire;
  std::memcpy(&wire, bytes.data(), sizeof wire);
  if (be32toh(wire.magic) != NBD_REQUEST_MAGIC) return std::nullopt;
  // The cookie is opaque, so its byte order is not changed.
  return Request{be16toh(wire.flags), be16toh(wire.command), wire.cookie, be64toh(wire.offset),
                 be32toh(wire.length)};
}

void encode_reply(std::uint64_t cookie, std::uint32_t error,
                  std::span<std::byte, kReplyBytes> out) {
  const WireReply wire{htobe32(NBD_REPLY_MAGIC), htobe32(error), cookie};
  std::memcpy(out.data(), &wire, sizeof wire);
}

Validation validate_request(const Request& request, std::uint64_t export_bytes) {
  if (request.command == NBD_CMD_DISC) return {Action::disconnect, 0};
  if (request.command == NBD_CMD_FLUSH) return {Action::serve, 0};
  if (request.has_payload() && request.length > kMaxPayloadBytes) return {Action::abandon, 0};
  if (!is_ranged(request)) return {Action::refuse, EINVAL};
  if (request.length == 0 || request.length % kPageBytes != 0 || request.offset % kPageBytes != 0) {
    return {Action::refuse, EINVAL};
  }
  if (is_transfer(request) && request.length > kMaxTransferBytes) return {Action::refuse, EINVAL};
  if (request.offset > export_bytes || request.length > export_bytes - request.offset) {
    // The protocol asks for ENOSPC if a write would go past the end, and for EINVAL otherwise.
    const bool writes = request.command == NBD_CMD_WRITE || request.command == kCommandWriteZeroes;
    return {Action::refuse, static_cast<std::uint32_t>(writes ? ENOSPC : EINVAL)};
  }
  return {Action::serve, 0};
}

}  // namespace vramswap::transmission
