#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "netlink/message.hpp"

namespace vramswap::netlink {

// The messages of the kernel's nbd family (drivers/block/nbd.c) as pure functions over bytes.

/// What makes a device of sockets.
struct ConnectRequest {
  /// The N of /dev/nbdN, created if it does not exist. Without it the kernel takes the first device
  /// that is free, or makes one more: nbds_max is no limit.
  std::optional<uint32_t> index = std::nullopt;
  uint64_t size_bytes = 0;
  uint64_t block_size_bytes = 4096;  ///< a power of two, 512..4096
  uint64_t server_flags = 0;         ///< NBD_FLAG_*; several sockets need NBD_FLAG_CAN_MULTI_CONN
  uint64_t client_flags = 0;         ///< NBD_CFLAG_*
  /// How long a request may take before its socket is taken for dead. 0 s or none: an only socket
  /// is never given up, several are after the device's request timer, which 0 s sets to 30 s and
  /// none leaves as the previous user of the device had it.
  std::optional<std::chrono::seconds> timeout = std::nullopt;
  /// How long requests wait for a RECONFIGURE when all sockets are dead. Without it they fail.
  std::optional<std::chrono::seconds> dead_connection_timeout = std::nullopt;
  /// Shown in /sys/block/nbdN/backend. If given, each RECONFIGURE must repeat it. Empty: none.
  std::string backend_identifier = {};
  /// Connected stream sockets, AF_UNIX or TCP. The kernel takes references of its own, so the fds
  /// may be closed afterwards.
  std::vector<int> sockets = {};
};

/// Gives a connected device new sockets in the place of dead ones. What is absent stays as it is.
struct ReconfigureRequest {
  uint32_t index = 0;
  std::optional<std::chrono::seconds> timeout = std::nullopt;
  std::optional<std::chrono::seconds> dead_connection_timeout = std::nullopt;
  std::string backend_identifier = {};
  std::vector<int> sockets = {};
};

/// Whole requests. The only error is EMSGSIZE: a backend identifier or sockets beyond 64 KiB.
using EncodedRequest = std::expected<std::vector<std::byte>, int>;
[[nodiscard]] EncodedRequest encode_connect(const RequestHeader&, const ConnectRequest&);
[[nodiscard]] EncodedRequest encode_reconfigure(const RequestHeader&, const ReconfigureRequest&);
[[nodiscard]] EncodedRequest encode_disconnect(const RequestHeader&, uint32_t index);

/// The index of the device that was connected, from the payload of the whole reply, generic netlink
/// header first. std::nullopt: something else.
std::optional<uint32_t> decode_connect_reply(std::span<const std::byte> payload);

}  // namespace vramswap::netlink
