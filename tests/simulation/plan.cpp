#include <fmt/format.h>

#include <array>

#include "tests/simulation/life.hpp"
#include "tests/simulation/random.hpp"

namespace vramswap::simulation {
namespace {

using namespace std::chrono_literals;

struct Weight {
  EventKind kind;
  const char* name;
  unsigned weight;
};
constexpr auto kWeights = std::to_array<Weight>({
    {EventKind::up, "up", 6},
    {EventKind::down, "down", 4},
    {EventKind::forced_down, "down --force", 2},
    {EventKind::status, "status", 8},
    {EventKind::reload, "reload", 5},
    {EventKind::client_goes, "a client goes away", 4},
    {EventKind::signal, "SIGTERM", 1},
    {EventKind::pages_written, "pages are written", 24},
    {EventKind::pages_read, "pages are read", 10},
    {EventKind::page_corrupted, "the bytes of a page change", 3},
    {EventKind::worker_dies, "a worker dies", 12},
    {EventKind::worker_stops, "a worker stands still", 4},
    {EventKind::message_fault, "the next message goes wrong", 12},
    {EventKind::receive_error, "the next packet cannot be received", 4},
    {EventKind::send_error, "the next packet cannot be sent", 2},
    {EventKind::channel_cut, "the channel is cut", 2},
    {EventKind::socket_dropped, "the kernel drops a socket", 6},
    {EventKind::sockets_refused, "the kernel refuses new sockets", 4},
    {EventKind::netlink_error, "the next netlink call fails", 6},
    {EventKind::no_descriptors, "descriptors run out", 3},
    {EventKind::no_memory, "memory runs out", 3},
    {EventKind::no_processes, "no process can be started", 2},
    {EventKind::card_goes, "the card goes", 3},
    {EventKind::card_fills, "other programs fill the card", 3},
    {EventKind::imports_fail, "imports fail", 3},
    {EventKind::imports_seem_stale, "imports seem stale", 2},
    {EventKind::content_lost, "the content is lost", 1},
    {EventKind::swap_call_error, "the next swap call fails", 2},
    {EventKind::swap_off_is_slow, "the next swapoff is slow", 4},
    {EventKind::swap_off_killed, "the OOM killer kills a swapoff", 2},
    {EventKind::device_disconnected, "somebody else disconnects a device", 1},
    {EventKind::swapped_off_by_others, "somebody else swaps a device off", 1},
    {EventKind::supervisor_dies, "the supervisor dies", 8},
    {EventKind::both_die, "all processes die", 2},
    {EventKind::service_restarted, "the service is restarted", 6},
    {EventKind::vram_lent, "VRAM is lent", 9},
    {EventKind::vram_taken_back, "VRAM is taken back", 3},
    {EventKind::loan_held_ends, "a client that holds a loan ends", 4},
    {EventKind::move_fault, "the next message of a move goes wrong", 5},
});

EventKind choose_kind(Random& random) {
  unsigned sum = 0;
  for (const Weight& each : kWeights) sum += each.weight;
  auto choice = random.below(sum);
  for (const Weight& each : kWeights) {
    if (choice < each.weight) return each.kind;
    choice -= each.weight;
  }
  return EventKind::status;
}

EventKind choose_kind_about_loans(Random& random) {
  constexpr std::array kLoans = {EventKind::vram_lent,      EventKind::vram_lent,
                                 EventKind::loan_held_ends, EventKind::vram_taken_back,
                                 EventKind::move_fault,     EventKind::pages_written};
  if (random.one_in(2)) return kLoans[random.below(kLoans.size())];
  const EventKind kind = choose_kind(random);
  const bool ends_swap = kind == EventKind::down || kind == EventKind::forced_down ||
                         kind == EventKind::signal || kind == EventKind::device_disconnected ||
                         kind == EventKind::swapped_off_by_others;
  return ends_swap && !random.one_in(8) ? EventKind::pages_written : kind;
}

// From a millisecond to ten minutes, short times more often.
std::chrono::nanoseconds choose_time(Random& random) {
  constexpr std::array<std::chrono::nanoseconds, 8> kLimits = {2ms, 20ms, 100ms, 500ms,
                                                               2s,  10s,  60s,   600s};
  const auto limit = kLimits[std::min(random.below(kLimits.size()), random.below(kLimits.size()))];
  return 1ms + std::chrono::nanoseconds(random.below(static_cast<std::uint64_t>(limit.count())));
}

// Without the numbers, for they change with every event that is left out.
std::string kind_of(std::string violation) {
  std::erase_if(violation, [](char c) { return c >= '0' && c <= '9'; });
  return violation;
}

}  // namespace

Plan make_plan(std::uint64_t seed) {
  Random random(seed);
  Plan plan{.seed = seed,
            .has_service_manager = random.one_in(2),
            .is_about_loans = random.one_in(3),
            .events = {}};
  const auto count = 110 + random.below(20);
  while (plan.events.size() < count) {
    Event& event = plan.events.emplace_back();
    event.kind = plan.events.size() == 1 ? EventKind::up
                 : plan.is_about_loans   ? choose_kind_about_loans(random)
                                         : choose_kind(random);
    event.choice = random.next();
    if (random.one_in(plan.is_about_loans ? 2 : 3)) {
      event.time = choose_time(random);
    } else {
      event.steps = static_cast<unsigned>(random.below(random.one_in(4) ? 200 : 20));
    }
  }
  return plan;
}

std::string describe(const Event& event) {
  const char* name = "?";
  for (const Weight& each : kWeights) {
    if (each.kind == event.kind) name = each.name;
  }
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(event.time).count();
  return event.time.count() > 0 ? fmt::format("after {} ms: {}", ms, name)
                                : fmt::format("after {} steps: {}", event.steps, name);
}

Plan shrink(Plan plan) {
  const std::string violation = kind_of(live(plan, false).violation);
  for (std::size_t size = plan.events.size() / 2; size > 0; size /= 2) {
    for (std::size_t first = 0; first < plan.events.size();) {
      Plan shorter = plan;
      const auto begin = shorter.events.begin() + static_cast<std::ptrdiff_t>(first);
      const auto left = static_cast<std::ptrdiff_t>(std::min(size, plan.events.size() - first));
      shorter.events.erase(begin, begin + left);
      if (!shorter.events.empty() && kind_of(live(shorter, false).violation) == violation) {
        plan = std::move(shorter);
      } else {
        first += size;
      }
    }
  }
  return plan;
}

}  // namespace vramswap::simulation
