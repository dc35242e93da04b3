// What a pool consists of while it is up.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <vector>

#include "daemon/control/protocol.hpp"
#include "daemon/handover/pool_description.hpp"
#include "daemon/supervisor/pool/loan_plan.hpp"
#include "daemon/supervisor/pool/loans.hpp"
#include "daemon/supervisor/pool/segment.hpp"
#include "daemon/supervisor/pool/worker_slot.hpp"

namespace vramswap {

struct PoolParts {
  control::UpRequest request;
  std::uint32_t pool_id = 0;  // random: tells our devices from others, and from those of before
  SegmentSettings settings;
  bool is_going_down = false;  // a swap area that is off is so by our own doing
  std::vector<std::unique_ptr<WorkerSlot>> slots;
  // In descending rank. They refer to their slot.
  std::vector<std::unique_ptr<Segment>> segments;
  Loans loans;
};

// "7G on /dev/nbd1000 to /dev/nbd1006"; there is a segment.
std::string summary(const PoolParts& parts);
// For the next supervisor; without the sequence number.
PoolDescription describe(const PoolParts& parts);

// For clients. The first two read /proc/swaps anew.
Result<std::vector<control::SegmentStatus>> segment_status(const PoolParts& parts,
                                                           const SwapCalls& swap);
std::uint64_t used_bytes(const PoolParts& parts, const SwapCalls& swap);
std::vector<control::WorkerStatus> worker_status(const PoolParts& parts);
// The card of a slot, as far as loans are concerned. For next_step(): `areas` are what the kernel
// shows, and `excluded` the segments whose step has failed.
LoanCard loan_card(const PoolParts& parts, const WorkerSlot& slot,
                   const std::vector<SwapArea>& areas = {},
                   const std::set<std::uint32_t>& excluded = {});
// Gets the statistics of those workers that answer at once; worker_status() has them then.
awaitable<void> refresh_stats(const PoolParts& parts);

}  // namespace vramswap
