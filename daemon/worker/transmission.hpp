// The NBD transmission phase as bytes: 28-byte requests, 16-byte simple replies, big-endian.
// Source: the NBD protocol document (doc/proto.md), sections "Request message" and "Simple reply
// message", and the subset that drivers/block/nbd.c sends.
#pragma once

#include <linux/nbd.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace vramswap::transmission {

inline constexpr std::size_t kRequestBytes = 28;
inline constexpr std::size_t kReplyBytes = 16;
inline constexpr std::uint32_t kPageBytes = 4096;
// The longest READ or WRITE that is served. `up` clamps the device's max_sectors_kb to it.
inline constexpr std::uint32_t kMaxTransferBytes = 1 << 20;
// A longer WRITE payload is not even drained: the stream is taken to be out of step. The kernel's
// own limit is 32 MiB (max_hw_sectors_kb of nbd).
inline constexpr std::uint32_t kMaxPayloadBytes = 64 << 20;

// Not in every linux/nbd.h yet; values from the NBD protocol document.
inline constexpr std::uint16_t kCommandWriteZeroes = 6;
inline constexpr std::uint64_t kFlagSendWriteZeroes = 1 << 6;

// What the server offers; handed to the kernel with CONNECT.
inline constexpr std::uint64_t kServerFlags = NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH |
                                              NBD_FLAG_SEND_FUA | NBD_FLAG_SEND_TRIM |
                                              kFlagSendWriteZeroes | NBD_FLAG_CAN_MULTI_CONN;

struct Request {
  std::uint16_t flags;
  std::uint16_t command;  // NBD_CMD_*, or something unknown
  std::uint64_t cookie;   // returned as it came
  std::uint64_t offset;   // bytes
  std::uint32_t length;   // bytes
  // Not of the wire: when the receive that brought it was over.
  std::chrono::steady_clock::time_point received_at = {};

  bool has_payload() const { return command == NBD_CMD_WRITE; }
};

// Nothing where the magic is wrong: the stream can not be trusted any more.
std::optional<Request> decode_request(std::span<const std::byte, kRequestBytes> bytes);

// `error` is 0 or one of the errno values the protocol lists (EIO, EINVAL, ENOSPC, ...).
void encode_reply(std::uint64_t cookie, std::uint32_t error, std::span<std::byte, kReplyBytes> out);

// The one place where a request is checked; the engine never checks again.
enum class Verdict {
  serve,
  refuse,  // answer with the error, after draining a WRITE's payload
  disconnect,
  abandon,  // the stream is out of step
};
struct Judgement {
  Verdict verdict;
  std::uint32_t error;  // for refuse
};
Judgement judge(const Request& request, std::uint64_t export_bytes);

}  // namespace vramswap::transmission
