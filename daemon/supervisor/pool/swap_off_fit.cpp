#include "daemon/supervisor/pool/swap_off_fit.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "daemon/control/size.hpp"

namespace vramswap {

using control::format_bytes;

SwapUse SwapUse::of(const std::vector<SwapArea>& areas, const std::vector<std::string>& ours) {
  SwapUse use;
  for (const SwapArea& area : areas) {
    if (std::ranges::find(ours, area.path) != ours.end()) {
      use.size_bytes += area.size_bytes;
      use.used_bytes += area.used_bytes;
    } else {
      use.other_free_bytes += area.size_bytes - area.used_bytes;
    }
  }
  return use;
}

Result<void> check_machine_has_room(const MemoryInfo& memory, const SwapUse& use) {
  // No more than is moved: a few pages fit, whatever the state of the machine.
  const std::uint64_t margin =
      std::min(use.used_bytes, std::max<std::uint64_t>(memory.total_bytes / 64, 16 << 20));
  if (use.used_bytes + margin <= memory.available_bytes + use.other_free_bytes) return {};
  return fail(
      fmt::format("the {} in use do not fit elsewhere: {} of memory are available and {} of "
                  "other swap are free, {} of which must stay free; end programs or add swap, or "
                  "try anyway with --force",
                  format_bytes(use.used_bytes), format_bytes(memory.available_bytes),
                  format_bytes(use.other_free_bytes), format_bytes(margin)));
}

// swapoff(2) fails with ENOMEM there. That would come late, after the areas that were swapped off
// before, and --force changes nothing about it.
Result<void> check_commitment_holds(const std::optional<MemoryCommitment>& commitment,
                                    const SwapUse& use) {
  if (!commitment || commitment->committed_bytes + use.size_bytes <= commitment->limit_bytes)
    return {};
  return fail(fmt::format(
      "vm.overcommit_memory is 2, and programs have allocated {} of the {} that they may "
      "(Committed_AS and CommitLimit of /proc/meminfo): the kernel refuses to remove {} of swap; "
      "end programs, or raise vm.overcommit_ratio or vm.overcommit_kbytes",
      format_bytes(commitment->committed_bytes), format_bytes(commitment->limit_bytes),
      format_bytes(use.size_bytes)));
}

// A group that is full swaps other pages of its own out to make room, as long as there is other
// swap, which all groups share.
Result<void> check_groups_have_room(const std::vector<CgroupExcess>& crowded, const SwapUse& use) {
  // What groups below swap out makes room in those above. A group comes after those above it.
  std::vector<std::uint64_t> swapped_out(crowded.size());
  std::uint64_t all_swapped_out = 0;
  for (std::size_t i = crowded.size(); i-- > 0;) {
    swapped_out[i] = std::max(swapped_out[i], crowded[i].excess_bytes);
    (crowded[i].parent ? swapped_out[*crowded[i].parent] : all_swapped_out) += swapped_out[i];
  }
  // Whose pages are in which area is not known, so each group was looked at as if all pages of ours
  // were its own, as far as it has so many in swap. Together they get no more than comes back.
  all_swapped_out = std::min(all_swapped_out, use.used_bytes);
  const bool is_enough = all_swapped_out <= use.other_free_bytes;

  const CgroupExcess* worst = nullptr;
  std::size_t count = 0;
  for (const CgroupExcess& group : crowded) {
    if (is_enough && group.may_swap) continue;
    ++count;
    if (worst == nullptr || group.excess_bytes > worst->excess_bytes) worst = &group;
  }
  if (worst == nullptr) return {};
  return fail(fmt::format(
      "the pages in use do not fit into their control groups: {} more would come back into {} than "
      "its {} of {} has room for, and the kernel would {} programs in it{}; raise its {}, end "
      "programs in it, or try anyway with --force",
      format_bytes(worst->excess_bytes), worst->name, worst->limit,
      format_bytes(worst->limit_bytes), worst->limit == "memory.max" ? "kill" : "all but stop",
      count == 1   ? ""
      : count == 2 ? " (and in 1 more group)"
                   : fmt::format(" (and in {} more groups)", count - 1),
      worst->limit));
}

awaitable<Result<void>> check_swap_off_fits(const SwapCalls& swap,
                                            const std::vector<SwapArea>& areas,
                                            const std::vector<std::string>& ours) {
  const SwapUse use = SwapUse::of(areas, ours);
  const auto memory = swap.memory();
  if (!memory) co_return memory.error();
  if (auto room = check_machine_has_room(*memory, use); !room) co_return room;
  const auto commitment = swap.commitment();
  if (!commitment) co_return commitment.error();
  if (auto holds = check_commitment_holds(*commitment, use); !holds) co_return holds;
  if (use.used_bytes == 0) co_return Result<void>{};
  const auto crowded = co_await swap.crowded_groups(use.used_bytes);
  co_return check_groups_have_room(crowded, use);
}

}  // namespace vramswap
