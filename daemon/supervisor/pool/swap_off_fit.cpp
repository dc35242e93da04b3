#include "daemon/supervisor/pool/swap_off_fit.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "daemon/control/size.hpp"

namespace vramswap {

Result<void> check_swap_off_fits(const MemoryInfo& memory, const std::vector<SwapArea>& areas,
                                 const std::vector<std::string>& ours) {
  using control::format_bytes;
  std::uint64_t used = 0;
  std::uint64_t other_swap = 0;
  for (const SwapArea& area : areas) {
    if (std::ranges::find(ours, area.path) != ours.end()) {
      used += area.used_bytes;
    } else {
      other_swap += area.size_bytes - area.used_bytes;
    }
  }
  // No more than is moved: a few pages fit, whatever the state of the machine.
  const std::uint64_t margin =
      std::min(used, std::max<std::uint64_t>(memory.total_bytes / 64, 16 << 20));
  if (used + margin <= memory.available_bytes + other_swap) return {};
  return fail(
      fmt::format("the {} in use do not fit elsewhere: {} of memory are available and {} of "
                  "other swap are free, {} of which must stay so; end programs or add "
                  "swap, or try all the same with --force",
                  format_bytes(used), format_bytes(memory.available_bytes),
                  format_bytes(other_swap), format_bytes(margin)));
}

}  // namespace vramswap
