#include "tests/simulation/final_checks.hpp"

#include <algorithm>

#include "daemon/base/page_size.hpp"
#include "tests/simulation/process.hpp"

namespace vramswap::simulation {
namespace {

using namespace std::chrono_literals;

// Longer than every time-out and back-off of the supervisor.
constexpr std::chrono::nanoseconds kQuiet = 5min;
constexpr std::chrono::nanoseconds kGlance = 20s;  // between two looks whether all is well
// Loans of clients that have not come back to a new supervisor are forgotten by then.
constexpr std::chrono::nanoseconds kClientsReturn = 20s;
constexpr std::chrono::nanoseconds kStatusTime = 1s;
constexpr std::chrono::nanoseconds kLongestDelay = 101s;  // of what the world has under way

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

// Empty: nothing is.
std::string what_is_lent(World& world) {
  const control::Status& status = world.clients.last_status();
  if (!status.loans.empty()) return "a loan stays, and all have ended";
  for (const auto& segment : status.segments) {
    if (segment.state == control::kLentState) return "a segment is lent, and no loan is left";
    if (segment.backend != control::Backend::vram || segment.place != "host memory") continue;
    return fmt::format("{} is in host memory, and no loan is left", segment.device);
  }
  if (status.lent_bytes > 0) return "VRAM is lent, and no loan is left";
  return {};
}

bool is_served(World& world) {
  if (world.is_over()) return true;
  if (!world.clients.all_are_over()) return false;
  if (!world.kernel.has_swap()) return true;
  if (world.process() == nullptr) return false;
  return std::ranges::all_of(world.kernel.devices(), [&](const auto& known) {
    const Device& device = known.second;
    return !device.is_swap || !device.is_connected || what_is_wrong(world, device).empty();
  });
}

bool is_well(World& world) {
  if (world.is_over()) return true;
  if (!is_served(world)) return false;
  return world.kernel.has_swap() ? what_is_lent(world).empty() : world.workers.living().empty();
}

void check_nothing_is_lent(World& world) {
  if (const auto lent = what_is_lent(world); !lent.empty()) return world.violate(lent);
  if (world.kernel.was_touched_by_others()) return;
  // A store of which a move was not finished goes.
  for (const auto& [inode, store] : world.stores.all()) {
    const bool may_stay = store->is_freed() || store->was_refused || store->is_destroyed ||
                          !store->reserve_of.empty();
    if (may_stay) continue;
    const bool is_used = std::ranges::any_of(
        world.kernel.devices(), [&](const auto& known) { return known.second.store == store; });
    if (!is_used) world.violate(fmt::format("nothing is in store {}, and it stays", store->number));
  }
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

bool is_up(World& world) {
  const Process* process = world.process();
  return process != nullptr && process->is_ready() && !process->has_nothing_up();
}

void ask_for_status(World& world) {
  if (!is_up(world)) return;
  world.clients.ask(control::StatusRequest{});
  world.pass(kStatusTime);
}

void wait_until(World& world, bool (&is_so)(World&)) {
  for (auto left = kQuiet; left > 0s; left -= kGlance) {
    ask_for_status(world);
    if (is_so(world)) return;
    world.pass(kGlance);
  }
}

void end_loans(World& world) {
  if (world.is_over() || !is_up(world)) return;
  ask_for_status(world);
  if (world.is_over()) return;
  const auto wrong = world.clients.what_is_wrong_with_loans();
  if (!wrong.empty()) return world.violate(wrong);
  world.clients.end_all_loans();
  world.clients.ask(control::TakeBackRequest{});
}

}  // namespace

void end_well(World& world) {
  world.heal();
  world.clients.ask(control::StatusRequest{});
  world.pass(kLongestDelay);
  wait_until(world, is_served);
  world.pass(kClientsReturn);
  end_loans(world);
  wait_until(world, is_well);
  world.pass(kLongestDelay);
  // A recovery may have begun meanwhile.
  wait_until(world, is_well);
  if (world.is_over()) return;
  if (!world.clients.all_are_over()) return world.violate("a client waits for ever");
  if (world.process() == nullptr && world.kernel.has_swap()) {
    return world.violate("no supervisor comes up, and there is swap");
  }
  check_all_is_served(world);
  if (is_up(world)) check_nothing_is_lent(world);
  if (!world.is_over()) world.restart_and_check();
  wait_until(world, is_well);
  world.kernel.verify_all();
  if (world.is_over()) return;
  if (is_up(world)) {
    world.clients.ask(control::DownRequest{.force = true});
    world.pass(kQuiet);
    if (world.is_over()) return;
    if (world.clients.last_answer() != true && !world.kernel.was_touched_by_others()) {
      return world.violate("down fails, and nothing is wrong");
    }
  }
  if (!world.kernel.was_touched_by_others()) check_nothing_is_left(world);
}

}  // namespace vramswap::simulation
