// What a pool consists of while it is up.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "daemon/control/protocol.hpp"
#include "daemon/handover/pool_description.hpp"
#include "daemon/supervisor/pool/segment.hpp"
#include "daemon/supervisor/pool/worker_slot.hpp"

namespace vramswap {

struct PoolParts {
  control::UpRequest request;
  std::uint32_t pool_id = 0;  // random: tells our devices from others, and from those of before
  SegmentSettings settings;
  std::vector<std::unique_ptr<WorkerSlot>> slots;
  // In descending rank. They refer to their slot.
  std::vector<std::unique_ptr<Segment>> segments;
};

// For the next supervisor; without the sequence number.
PoolDescription describe(const PoolParts& parts);

}  // namespace vramswap
