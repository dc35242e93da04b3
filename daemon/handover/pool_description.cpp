#include "daemon/handover/pool_description.hpp"

#include <fmt/format.h>

#include <cerrno>

#include "daemon/base/json.hpp"
#include "daemon/handover/messages_json.hpp"

namespace vramswap {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(PoolDescription::Device, start, info, worker_bytes, restarts)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(PoolDescription::Segment, id, device, size_bytes, priority,
                                   generation, lost_pages, corrupt_pages, lost_at, nbd_index,
                                   request_limit, is_lent)

std::string encode(const PoolDescription& description) {
  return dump_json({{"version", messages::kVersion},
                    {"sequence", description.sequence},
                    {"pool_id", description.pool_id},
                    {"request", control::encode(description.request)},
                    {"connections", description.connections},
                    {"is_going_down", description.is_going_down},
                    {"devices", description.devices},
                    {"segments", description.segments},
                    {"loans", control::encode_loans(description.loans)}});
}

Result<PoolDescription> decode_pool_description(std::string_view text) {
  try {
    const Json json = parse_message_json(text);
    if (const int version = json.at("version"); version != messages::kVersion) {
      return std::unexpected(
          Error{fmt::format("the swap that is up belongs to another version of vramswapd ({}, this "
                            "is {}): take it down with that version",
                            version, messages::kVersion),
                EPROTO});
    }
    PoolDescription description;
    json.at("sequence").get_to(description.sequence);
    json.at("pool_id").get_to(description.pool_id);
    auto request = control::decode_request(json.at("request").get<std::string>());
    if (!request) return request.error();
    description.request = std::get<control::UpRequest>(*std::move(request));
    json.at("connections").get_to(description.connections);
    json.at("is_going_down").get_to(description.is_going_down);
    json.at("devices").get_to(description.devices);
    json.at("segments").get_to(description.segments);
    auto loans = control::decode_loans(json.at("loans").get<std::string>());
    if (!loans) return loans.error();
    description.loans = *std::move(loans);
    for (const auto& segment : description.segments) (void)description.devices.at(segment.device);
    return description;
  } catch (const std::exception& error) {
    return fail(fmt::format("malformed description of a pool: {}", error.what()));
  }
}

}  // namespace vramswap
