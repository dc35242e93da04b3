#include "daemon/supervisor/pool/device_use.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

namespace vramswap {
namespace {

constexpr unsigned kAttempts = 20;
constexpr std::chrono::milliseconds kAttemptInterval{50};
constexpr unsigned kOpensThatWait = 3;

}  // namespace

bool is_swap_area(const std::vector<SwapArea>& areas, const std::string& device) {
  return std::ranges::find(areas, device, &SwapArea::path) != areas.end();
}

awaitable<Result<void>> check_unused(Machine& machine, std::string device) {
  unsigned opens_that_wait = 0;
  for (unsigned attempt = 1;; ++attempt) {
    const auto areas = machine.swap.areas();
    if (!areas) co_return areas.error();
    if (is_swap_area(*areas, device)) {
      co_return Error{fmt::format("{}: is in use: it carries swap", device), EBUSY};
    }
    const auto is_held = machine.swap.is_held(device);
    if (is_held && !*is_held) co_return Result<void>{};
    // Nobody serves the device, and the kernel looks for partitions on it: the first open waits for
    // that, so nobody has had it open yet. A worker may come soon; if none does the device may go.
    const bool waits = !is_held && is_held.error().code == ETIMEDOUT;
    if (waits && (++opens_that_wait == kOpensThatWait || attempt == kAttempts)) {
      co_return Result<void>{};
    }
    // Another error: no process could be started to ask.
    if (attempt == kAttempts) {
      if (!is_held) co_return is_held.error();
      co_return Error{fmt::format("{}: is in use: the kernel or a program holds it", device),
                      EBUSY};
    }
    co_await machine.clock.sleep(kAttemptInterval);
  }
}

}  // namespace vramswap
