// Whether the pages in a swap area fit elsewhere, asked before swapoff(2). Each error is one line
// that says what is missing and what to do.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "daemon/supervisor/machine/swap_calls.hpp"

namespace vramswap {

// What is to be swapped off, and what is not.
struct SwapUse {
  // `ours` are the paths to be swapped off.
  static SwapUse of(const std::vector<SwapArea>& areas, const std::vector<std::string>& ours);

  std::uint64_t size_bytes = 0;        // of our areas
  std::uint64_t used_bytes = 0;        // of them
  std::uint64_t other_free_bytes = 0;  // of all other areas
};

// Whether the machine has room: in memory or in other swap. A margin stays free: a 64th of the
// memory, at least 16 MiB, but no more than is in use.
Result<void> check_machine_has_room(const MemoryInfo& memory, const SwapUse& use);
// Whether the kernel lets programs keep what they have allocated when there is less swap.
Result<void> check_commitment_holds(const std::optional<MemoryCommitment>& commitment,
                                    const SwapUse& use);
// Whether what the `crowded` control groups cannot take goes to other swap.
Result<void> check_groups_have_room(const std::vector<CgroupExcess>& crowded, const SwapUse& use);

// All of it.
awaitable<Result<void>> check_swap_off_fits(const SwapCalls& swap,
                                            const std::vector<SwapArea>& areas,
                                            const std::vector<std::string>& ours);

}  // namespace vramswap
