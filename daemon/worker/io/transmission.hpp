// The NBD transmission phase as bytes: 28-byte requests, 16-byte simple replies, big-endian.
// Source: the NBD protocol document (doc/proto.md), sections "Request message" and "Simple reply
// message", and the subset that drivers/block/nbd.c sends.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "daemon/handover/nbd_export.hpp"

namespace vramswap::transmission {

inline constexpr std::size_t kRequestBytes = 28;
inline constexpr std::size_t kReplyBytes = 16;
// A longer WRITE payload is not discarded: the stream is assumed to be out of step. The limit of
// the kernel is 32 MiB (max_hw_sectors_kb of nbd).
inline constexpr std::uint32_t kMaxPayloadBytes = 64 << 20;

struct Request {
  std::uint16_t flags;
  std::uint16_t command;  // NBD_CMD_*, or something unknown
  std::uint64_t cookie;   // returned unchanged in the reply
  std::uint64_t offset;   // bytes
  std::uint32_t length;   // bytes
  // Not on the wire: when the receive call that delivered the request returned.
  std::chrono::steady_clock::time_point received_at = {};

  bool has_payload() const { return command == NBD_CMD_WRITE; }
};

// Nothing if the magic is wrong: the stream is out of step.
std::optional<Request> decode_request(std::span<const std::byte, kRequestBytes> bytes);

// `error` is 0 or one of the errno values the protocol lists (EIO, EINVAL, ENOSPC, ...).
void encode_reply(std::uint64_t cookie, std::uint32_t error, std::span<std::byte, kReplyBytes> out);

// The only place where a request is checked.
enum class Action {
  serve,
  refuse,  // answer with the error, after discarding a WRITE's payload
  disconnect,
  abandon,  // the stream is out of step
};
struct Validation {
  Action action;
  std::uint32_t error;  // for refuse
};
Validation validate_request(const Request& request, std::uint64_t export_bytes);

}  // namespace vramswap::transmission
