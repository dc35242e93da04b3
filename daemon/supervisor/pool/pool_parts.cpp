#include "daemon/supervisor/pool/pool_parts.hpp"

namespace vramswap {

PoolDescription describe(const PoolParts& parts) {
  PoolDescription description{.sequence = 0,
                              .pool_id = parts.pool_id,
                              .request = parts.request,
                              .connections = parts.settings.connections,
                              .devices = {},
                              .segments = {}};
  for (const auto& slot : parts.slots) description.devices.push_back(slot->describe());
  for (const auto& segment : parts.segments) description.segments.push_back(segment->describe());
  return description;
}

}  // namespace vramswap
