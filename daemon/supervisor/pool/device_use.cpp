#include "daemon/supervisor/pool/device_use.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

namespace vramswap {
namespace {

constexpr unsigned kAttempts = 20;
constexpr std::chrono::milliseconds kAttemptInterval{50};

}  // namespace

bool is_swap_area(const std::vector<SwapArea>& areas, const std::string& device) {
  return std::ranges::find(areas, device, &SwapArea::path) != areas.end();
}

awaitable<Result<void>> check_unused(Machine& machine, std::string device) {
  for (unsigned attempt = 1;; ++attempt) {
    const auto areas = machine.swap.areas();
    if (!areas) co_return areas.error();
    if (is_swap_area(*areas, device)) {
      co_return Error{fmt::format("{}: is in use: it carries swap", device), EBUSY};
    }
    const auto is_held = machine.swap.is_held(device);
    // Nobody serves the device at the moment: whoever opens it waits for the kernel, which looks
    // for partitions on it. The next worker comes soon.
    if (!is_held && is_held.error().code != ETIMEDOUT) co_return is_held.error();
    if (is_held && !*is_held) co_return Result<void>{};
    if (attempt == kAttempts && !is_held) co_return is_held.error();
    if (attempt == kAttempts) {
      co_return Error{fmt::format("{}: is in use: the kernel or a program holds it", device),
                      EBUSY};
    }
    co_await machine.clock.sleep(kAttemptInterval);
  }
}

}  // namespace vramswap
