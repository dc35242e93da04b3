// What a segment's NBD export offers. The supervisor passes it to the kernel; the worker serves it.
// Source: the NBD protocol document (doc/proto.md), and drivers/block/nbd.c.
#pragma once

#include <linux/nbd.h>

#include <cstdint>

#include "daemon/base/page_size.hpp"

namespace vramswap::transmission {

// The longest READ or WRITE that a worker serves, in bytes. `up` clamps the device's max_sectors_kb
// to it.
inline constexpr std::uint32_t kMaxTransferBytes = 1 << 20;

// Some versions of linux/nbd.h lack these; the values are from the NBD protocol document.
inline constexpr std::uint16_t kCommandWriteZeroes = 6;
inline constexpr std::uint64_t kFlagSendWriteZeroes = 1 << 6;

// The transmission flags that CONNECT hands to the kernel.
inline constexpr std::uint64_t kServerFlags = NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH |
                                              NBD_FLAG_SEND_FUA | NBD_FLAG_SEND_TRIM |
                                              kFlagSendWriteZeroes | NBD_FLAG_CAN_MULTI_CONN;

}  // namespace vramswap::transmission
