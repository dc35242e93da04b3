// One life of a machine with the supervisor on it: events that a seed determines, then quiet, and
// what must hold in the end.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace vramswap::simulation {

enum class EventKind {
  up,
  down,
  forced_down,
  status,
  reload,
  client_goes,
  signal,
  pages_written,
  pages_read,
  page_corrupted,
  worker_dies,
  worker_stops,
  message_fault,
  receive_error,
  send_error,
  channel_cut,
  socket_dropped,
  sockets_refused,
  netlink_error,
  no_descriptors,
  no_memory,
  no_processes,
  card_goes,
  card_fills,
  imports_fail,
  imports_seem_stale,
  content_lost,
  swap_call_error,
  swap_off_is_slow,
  swap_off_killed,
  device_disconnected,
  swapped_off_by_others,
  supervisor_dies,
  both_die,
  service_restarted,
  vram_lent,
  vram_taken_back,
  loan_held_ends,
  move_fault,
};

struct Event {
  EventKind kind{};
  // Since the event before it: that many steps of the supervisor, or that much time. Once the
  // supervisor waits, an event that counts steps comes at once.
  unsigned steps = 0;
  std::chrono::nanoseconds time{};  // 0: it counts steps
  std::uint64_t choice = 0;         // what it does it to, and how
};

struct Plan {
  std::uint64_t seed = 0;
  bool has_service_manager = false;
  bool is_about_loans = false;  // the swap stays up for longer, and VRAM is lent more often
  std::vector<Event> events;
};
Plan make_plan(std::uint64_t seed);
std::string describe(const Event& event);

struct Outcome {
  std::string violation;  // empty: none
  std::vector<std::string> log;
  std::size_t events = 0;  // that came
  std::uint64_t steps = 0;
};
// Keeps the log only if `records`.
Outcome live(const Plan& plan, bool records);

// Leaves out events for as long as the life ends by a violation all the same.
Plan shrink(Plan plan);

}  // namespace vramswap::simulation
