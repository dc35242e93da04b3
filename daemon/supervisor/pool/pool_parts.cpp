#include "daemon/supervisor/pool/pool_parts.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace vramswap {

std::string summary(const PoolParts& parts) {
  std::uint64_t total = 0;
  std::string first;
  std::string last;
  for (const auto& segment : parts.segments) {
    total += segment->size_bytes();
    if (!segment->has_nbd()) continue;
    last = segment->path();
    if (first.empty()) first = last;
  }
  return fmt::format("{} on {}{}", control::format_bytes(total),
                     first.empty() ? "no device" : first, first == last ? "" : " to " + last);
}

PoolDescription describe(const PoolParts& parts) {
  PoolDescription description{.sequence = 0,
                              .pool_id = parts.pool_id,
                              .request = parts.request,
                              .connections = parts.settings.connections,
                              .is_going_down = parts.is_going_down,
                              .devices = {},
                              .segments = {},
                              .loans = parts.loans.list()};
  for (const auto& slot : parts.slots) description.devices.push_back(slot->describe());
  for (const auto& segment : parts.segments) description.segments.push_back(segment->describe());
  return description;
}

Result<std::vector<control::SegmentStatus>> segment_status(const PoolParts& parts,
                                                           const SwapCalls& swap) {
  const auto areas = swap.areas();
  if (!areas) return areas.error();
  std::vector<control::SegmentStatus> list;
  for (const auto& segment : parts.segments) list.push_back(segment->status(*areas));
  return list;
}

std::uint64_t used_bytes(const PoolParts& parts, const SwapCalls& swap) {
  std::uint64_t used = 0;
  const auto now = segment_status(parts, swap);
  if (!now) return used;
  for (const auto& segment : *now) used += segment.used_bytes;
  return used;
}

std::vector<control::WorkerStatus> worker_status(const PoolParts& parts) {
  std::vector<control::WorkerStatus> list;
  for (const auto& slot : parts.slots) list.push_back(slot->status());
  return list;
}

LoanCard loan_card(const PoolParts& parts, const WorkerSlot& slot,
                   const std::vector<SwapArea>& areas, const std::set<std::uint32_t>& excluded) {
  using Where = LoanSegment::Where;
  LoanCard card{.segments = {},
                .context_bytes = slot.info().context_bytes,
                .has_context = !slot.has_left_card(),
                .wanted_bytes = parts.loans.wanted_bytes()};
  for (const auto& segment : parts.segments) {
    if (&segment->slot() != &slot) continue;
    const auto area = std::ranges::find(areas, segment->path(), &SwapArea::path);
    card.segments.push_back({.where = segment->is_lent()        ? Where::nowhere
                                      : segment->is_half_lent() ? Where::idle
                                      : segment->is_moved_out() ? Where::host
                                                                : Where::card,
                             .size_bytes = segment->size_bytes(),
                             .used_bytes = area == areas.end() ? 0 : area->used_bytes,
                             .is_excluded = excluded.contains(segment->id())});
  }
  return card;
}

awaitable<void> refresh_stats(const PoolParts& parts) {
  // Of its own, for slots may go meanwhile. All are asked before one is waited for.
  std::vector<std::shared_ptr<WorkerProcess>> workers;
  for (const auto& slot : parts.slots) {
    if (slot->worker()) workers.push_back(slot->worker());
  }
  for (const auto& worker : workers) worker->request_stats();
  for (const auto& worker : workers) co_await worker->await_stats();
}

}  // namespace vramswap
