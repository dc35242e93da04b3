// The fields of a message beside its text, for programs that read the journal; vramswapd(8) lists
// them.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "daemon/system/message_ids.hpp"

namespace vramswap {

// Fields without a value are left out.
struct LogFields {
  std::string_view message_id = {};              // of message_ids.hpp; empty: it is only a text
  std::string_view device = {};                  // "/dev/nbd1000"
  std::optional<std::uint32_t> segment = {};     // its number, from 0
  std::optional<std::uint64_t> page = {};        // its number in the segment, from 0
  std::optional<std::uint64_t> lost_pages = {};  // how many were lost
  std::string_view store = {};                   // as StoreDeviceInfo::name
  std::string_view gpu = {};                     // as StoreDeviceInfo::uuid
  std::optional<pid_t> worker = {};              // its process
  std::optional<std::int64_t> pause_ms = {};     // how long no worker served
};

// Writes an entry of the journal, as journald takes it in one datagram
// (systemd.io/JOURNAL_NATIVE_PROTOCOL): a line NAME=value a field. Line breaks in values become
// spaces, and a text that does not fit is cut. Returns the length.
std::size_t write_entry(std::span<char> entry, int priority, std::string_view message,
                        const LogFields& fields);

}  // namespace vramswap
