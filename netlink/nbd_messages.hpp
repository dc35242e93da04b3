// The messages of the kernel's nbd family (drivers/block/nbd.c) as pure functions over bytes.
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

/// Connects sockets to a device.
struct ConnectRequest {
  /// The N of /dev/nbdN; the kernel creates the device if it does not exist. nullopt: the kernel
  /// takes the first free device or creates another one, whatever nbds_max is.
  std::optional<uint32_t> index = std::nullopt;
  uint64_t size_bytes = 0;
  uint64_t block_size_bytes = 4096;  ///< a power of two, 512..4096
  uint64_t server_flags = 0;         ///< NBD_FLAG_*; several sockets need NBD_FLAG_CAN_MULTI_CONN
  uint64_t client_flags = 0;         ///< NBD_CFLAG_*
  /// If a request takes longer, the kernel regards its socket as dead. With one socket, 0 s or
  /// nullopt means no timeout. With several, the device's request timer applies: 0 s sets it to
  /// 30 s, nullopt keeps the previous user's value.
  std::optional<std::chrono::seconds> timeout = std::nullopt;
  /// How long requests wait for a RECONFIGURE when all sockets are dead. nullopt: they fail.
  std::optional<std::chrono::seconds> dead_connection_timeout = std::nullopt;
  /// /sys/block/nbdN/backend shows it, and each RECONFIGURE must repeat it. Empty: the device has
  /// none.
  std::string backend_identifier = {};
  /// Connected stream sockets, AF_UNIX or TCP. The kernel takes its own references, so the caller
  /// may close the fds afterwards.
  std::vector<int> sockets = {};
};

/// Replaces dead sockets of a connected device by new ones. Absent values stay as they are.
struct ReconfigureRequest {
  uint32_t index = 0;
  std::optional<std::chrono::seconds> timeout = std::nullopt;
  std::optional<std::chrono::seconds> dead_connection_timeout = std::nullopt;
  std::string backend_identifier = {};
  std::vector<int> sockets = {};
};

/// Encode a whole request. The only error is EMSGSIZE: the backend identifier or the sockets take
/// more than 64 KiB.
using EncodedRequest = std::expected<std::vector<std::byte>, int>;
[[nodiscard]] EncodedRequest encode_connect(const RequestHeader&, const ConnectRequest&);
[[nodiscard]] EncodedRequest encode_reconfigure(const RequestHeader&, const ReconfigureRequest&);
[[nodiscard]] EncodedRequest encode_disconnect(const RequestHeader&, uint32_t index);

/// The index of the connected device. `payload` is that of the whole reply and begins with the
/// generic netlink header. std::nullopt: it is another message.
std::optional<uint32_t> decode_connect_reply(std::span<const std::byte> payload);

}  // namespace vramswap::netlink
