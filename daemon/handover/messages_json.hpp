// How parts of messages are written as JSON. The messages use it, and so do the descriptions that
// outlive a process.
#pragma once

#include <chrono>

#include "daemon/base/json.hpp"
#include "daemon/handover/messages.hpp"

namespace nlohmann {

template <>
struct adl_serializer<std::chrono::seconds> {
  static void to_json(json& json, std::chrono::seconds seconds) { json = seconds.count(); }
  static void from_json(const json& json, std::chrono::seconds& seconds) {
    seconds = std::chrono::seconds(json.get<std::int64_t>());
  }
};

}  // namespace nlohmann

namespace vramswap {

// nlohmann finds it by argument-dependent lookup.
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(StoreDeviceInfo, name, uuid, free_bytes, total_bytes,
                                   granularity_bytes, context_bytes, drives_display, is_exclusive)

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(StoreId, serial, place)

namespace messages {

// Enumerations are written as numbers: both ends run this program.
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Start, backend, gpu, io_threads, rendezvous, doze_after,
                                   hang_timeout, driver_path, has_page_kernel, has_copy_notes,
                                   context_bytes, has_context_reserve, leaves_card)

}  // namespace messages
}  // namespace vramswap
