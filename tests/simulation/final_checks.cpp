#include "tests/simulation/final_checks.hpp"

#include <algorithm>

#include "daemon/base/page_size.hpp"
#include "tests/simulation/process.hpp"

namespace vramswap::simulation {
namespace {

using namespace std::chrono_literals;

// Empty: nothing is.
std::string what_is_wrong(World& world, const Device& device) {
  const HeldSegment* segment = world.kernel.server_of(device);
  if (segment == nullptr)
    return fmt::format("nobody serves {}, and nothing is wrong", device.path());
  if (std::ranges::any_of(device.connections, &KernelConnection::is_dead)) {
    return fmt::format("{} lacks a connection for ever", device.path());
  }
  const bool any_lost = segment->pages.count(PageState::lost) > 0;
  if ((device.request_limit == kPageBytes) != any_lost) {
    return fmt::format("{} has {} pages lost, and requests of {} bytes", device.path(),
                       any_lost ? "some" : "no", device.request_limit);
  }
  return {};
}

}  // namespace

bool is_well(World& world) {
  if (world.is_over()) return true;
  if (!world.clients.all_are_over()) return false;
  if (!world.kernel.has_swap()) return world.workers.living().empty();
  if (world.process() == nullptr) return false;
  return std::ranges::all_of(world.kernel.devices(), [&](const auto& known) {
    const Device& device = known.second;
    return !device.is_swap || !device.is_connected || what_is_wrong(world, device).empty();
  });
}

void check_all_is_served(World& world) {
  for (const auto& [index, device] : world.kernel.devices()) {
    if (!device.is_swap || !device.is_connected) continue;
    if (const auto wrong = what_is_wrong(world, device); !wrong.empty())
      return world.violate(wrong);
  }
}

void check_nothing_is_left(World& world) {
  if (!world.kernel.devices().empty()) return world.violate("a device is left after down");
  if (!world.workers.living().empty()) return world.violate("a worker is left after down");
  if (world.stores.count_held() > 0) return world.violate("memory is left after down");
  // One of a worker that was killed goes with the next supervisor.
  if (!world.workers.sockets().empty()) {
    world.clients.ask(control::StatusRequest{});
    world.pass(1s);
  }
  if (!world.workers.sockets().empty()) return world.violate("a socket is left after down");
  if (world.memory.reserve_bytes > 0) return world.violate("the reserve is held after down");
}

}  // namespace vramswap::simulation
