#include "daemon/supervisor/pool/loan_plan.hpp"

#include <algorithm>
#include <limits>
#include <ranges>

namespace vramswap {
namespace {

using Where = LoanSegment::Where;

std::uint64_t wanted(const LoanCard& card) {
  return card.wanted_bytes.value_or(std::numeric_limits<std::uint64_t>::max());
}

bool is_off_card(const LoanSegment& segment) {
  return segment.where == Where::host || segment.where == Where::nowhere;
}

std::optional<LoanStep> next_to_lend(const LoanCard& card) {
  const auto indices = std::views::iota(0UZ, card.segments.size()) | std::views::reverse;
  for (const bool empty : {true, false}) {
    for (const std::size_t index : indices) {
      const LoanSegment& segment = card.segments[index];
      if (is_off_card(segment) || segment.is_excluded) continue;
      if ((segment.used_bytes == 0) != empty) continue;
      return LoanStep{empty ? LoanStep::Kind::give_up : LoanStep::Kind::move_out, index};
    }
  }
  if (card.has_context && std::ranges::all_of(card.segments, is_off_card)) {
    return LoanStep{LoanStep::Kind::leave_card};
  }
  return std::nullopt;
}

std::optional<LoanStep> next_to_come_back(const LoanCard& card) {
  const std::uint64_t spare = lent_bytes(card) - wanted(card);
  const std::uint64_t context = card.has_context ? 0 : card.context_bytes;
  for (std::size_t index = 0; index < card.segments.size(); ++index) {
    const LoanSegment& segment = card.segments[index];
    if (segment.where == Where::card || segment.is_excluded) continue;
    const bool has_vram = segment.where == Where::idle;
    if (has_vram || segment.size_bytes + context <= spare)
      return LoanStep{LoanStep::Kind::bring_back, index};
  }
  return std::nullopt;
}

}  // namespace

std::uint64_t lent_bytes(const LoanCard& card) {
  std::uint64_t sum = card.has_context ? 0 : card.context_bytes;
  for (const LoanSegment& segment : card.segments) {
    if (is_off_card(segment)) sum += segment.size_bytes;
  }
  return sum;
}

std::uint64_t missing_bytes(const LoanCard& card) {
  std::uint64_t all = card.context_bytes;
  for (const LoanSegment& segment : card.segments) all += segment.size_bytes;
  const std::uint64_t lent = lent_bytes(card);
  const std::uint64_t aim = card.wanted_bytes ? *card.wanted_bytes : all;
  return aim - std::min(aim, lent);
}

std::optional<LoanStep> next_step(const LoanCard& card) {
  if (missing_bytes(card) > 0) return next_to_lend(card);
  return card.wanted_bytes ? next_to_come_back(card) : std::nullopt;
}

}  // namespace vramswap
