#include "tests/simulation/life.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "daemon/base/page_size.hpp"
#include "daemon/system/log.hpp"
#include "tests/simulation/final_checks.hpp"
#include "tests/simulation/process.hpp"
#include "tests/simulation/world.hpp"

namespace vramswap::simulation {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kSegmentPages = 16;
World* logging_world = nullptr;

// Whoever answers is not killed for silence.
void check_killed_for_silence(std::string_view message) {
  if (message.find("no sign of life") == std::string_view::npos) return;
  for (const auto& worker : logging_world->workers.living()) {
    if (!message.starts_with(fmt::format("worker {} ", worker->pid))) continue;
    if (!worker->was_silent()) {
      logging_world->violate(fmt::format("worker {} is killed, and it answers", worker->pid));
    }
  }
}

class Life {
 public:
  Life(const Plan& plan, bool records)
      : plan_(plan), world_(plan.seed, plan.has_service_manager, records) {
    logging_world = &world_;
    set_log_sink([](std::string_view message, const LogFields&) {
      logging_world->note("  log: {}", message);
      check_killed_for_silence(message);
    });
    world_.on_step = [this] { on_step(); };
  }
  ~Life() { set_log_sink(nullptr); }

  Outcome run() {
    prepare_next();
    while (!world_.is_over() && next_ < plan_.events.size()) {
      world_.run_ready();
      if (world_.is_over() || next_ >= plan_.events.size()) break;
      if (plan_.events[next_].time.count() == 0) {
        fire();
      } else {
        world_.run_next(TimePoint::max());
      }
    }
    world_.on_step = [this] { ++steps_; };
    if (!world_.is_over()) end_well(world_);
    return {world_.violation(), world_.log(), next_, steps_};
  }

 private:
  void on_step() {
    ++steps_;
    if (is_firing_ || next_ >= plan_.events.size() || plan_.events[next_].time.count() > 0) return;
    if (steps_left_ > 0) {
      --steps_left_;
    } else {
      fire();
    }
  }

  void prepare_next() {
    if (next_ >= plan_.events.size()) return;
    const Event& event = plan_.events[next_];
    steps_left_ = event.steps;
    if (event.time.count() == 0) return;
    world_.after(event.time, [this] { fire(); });
  }

  void fire() {
    is_firing_ = true;
    const Event& event = plan_.events[next_];
    world_.note("-- {}", describe(event));
    happen(event.kind, Random(event.choice));
    is_firing_ = false;
    ++next_;
    prepare_next();
  }

  void happen(EventKind kind, Random random);
  void happen_to_worker(EventKind kind, Random random);
  void happen_to_machine(EventKind kind, Random random);

  control::UpRequest up_request(Random random) const {
    control::UpRequest up;
    const std::uint64_t cards = 1 + random.below(2);
    const std::uint64_t segments = cards * (1 + random.below(2));
    up.size = control::Bytes{segments * kSegmentPages * kPageBytes};
    up.segment_size_bytes = kSegmentPages * kPageBytes;
    const bool is_ram = random.one_in(3) && !plan_.is_about_loans;
    up.backend = is_ram ? control::Backend::ram : control::Backend::vram;
    if (up.backend == control::Backend::vram) up.gpus = {"0"};
    if (up.backend == control::Backend::vram && cards == 2) up.gpus.emplace_back("1");
    constexpr std::array kTimeouts = {5s, 60s, 600s};
    up.reconnect_timeout = kTimeouts[random.below(kTimeouts.size())];
    return up;
  }
  control::LendRequest lend_request(Random random) const {
    control::LendRequest lend;
    if (!random.one_in(2)) lend.bytes = (1 + random.below(3)) * kSegmentPages * kPageBytes / 2;
    lend.is_held = random.one_in(2);
    if (random.one_in(3)) lend.wait = std::chrono::seconds(random.below(5));
    return lend;
  }
  std::chrono::nanoseconds some_time(Random& random) const {
    constexpr std::array<std::chrono::nanoseconds, 6> kTimes = {5ms, 100ms, 1s, 8s, 40s, 100s};
    return kTimes[random.below(kTimes.size())];
  }

  // Of a restart, or a little more.
  std::chrono::nanoseconds some_short_time(Random& random) const {
    return std::chrono::microseconds(random.below(random.one_in(2) ? 10'000 : 300'000));
  }

  const Plan& plan_;
  World world_;
  std::size_t next_ = 0;
  unsigned steps_left_ = 0;
  bool is_firing_ = false;
  std::uint64_t steps_ = 0;
  TimePoint stale_before_{};
};

void Life::happen(EventKind kind, Random random) {
  Clients& clients = world_.clients;
  switch (kind) {
    case EventKind::up:
      clients.ask(up_request(random));
      break;
    case EventKind::down:
      clients.ask(control::DownRequest{});
      break;
    case EventKind::forced_down:
      clients.ask(control::DownRequest{.force = true});
      break;
    case EventKind::status:
      clients.ask(control::StatusRequest{});
      break;
    case EventKind::reload:
      clients.ask(control::ReloadRequest{});
      break;
    case EventKind::client_goes:
      clients.hang_up(random.next());
      break;
    case EventKind::vram_lent:
      clients.ask(lend_request(random));
      break;
    case EventKind::vram_taken_back:
      clients.ask(control::TakeBackRequest{});
      break;
    case EventKind::loan_held_ends:
      clients.end_a_loan(random.next());
      break;
    case EventKind::signal:
      if (world_.process() != nullptr) world_.process()->take_signal();
      break;
    case EventKind::pages_written:
      world_.kernel.write_pages(random.next());
      break;
    case EventKind::pages_read:
      world_.kernel.read_pages(random.next());
      break;
    case EventKind::page_corrupted:
      world_.kernel.corrupt_page(random.next());
      break;
    case EventKind::supervisor_dies:
      world_.kill_process();
      break;
    case EventKind::both_die:
      // Where no service manager keeps all, pages are lost, or the life ends.
      if (!world_.all_is_kept() && !random.one_in(world_.manager.is_there ? 4 : 16)) break;
      world_.kill_process();
      for (const auto& worker : world_.workers.living()) worker->die("as all processes do");
      break;
    case EventKind::service_restarted:
      if (!world_.manager.is_there) break;
      if (random.one_in(2)) world_.change_fdstore(random);
      world_.restart_service();
      // Something else happens at the same time.
      if (random.one_in(6))
        world_.after(some_short_time(random), [this] { world_.kill_process(); });
      if (random.one_in(4)) {
        world_.after(some_short_time(random), [this, choice = random.next()] {
          happen_to_worker(EventKind::worker_dies, Random(choice));
        });
      }
      break;
    default:
      happen_to_worker(kind, random);
  }
}

void Life::happen_to_worker(EventKind kind, Random random) {
  const auto worker = world_.workers.choose(random.next());
  switch (kind) {
    case EventKind::worker_dies: {
      const bool is_alone = world_.process() == nullptr || !world_.process()->is_ready();
      if (!world_.all_is_kept() && is_alone && !random.one_in(32)) break;
      if (worker) worker->die("by a signal");
      break;
    }
    case EventKind::worker_stops:
      if (worker) worker->stop_for(random.one_in(4) ? 200s : some_time(random));
      break;
    case EventKind::message_fault:
      world_.faults.message =
          MessageFault{static_cast<MessageFault::Kind>(random.below(7)), some_time(random)};
      break;
    case EventKind::move_fault:
      world_.faults.move =
          MessageFault{static_cast<MessageFault::Kind>(random.below(7)), some_time(random)};
      break;
    case EventKind::receive_error: {
      constexpr std::array kCodes = {EMSGSIZE, ENOBUFS, ENOMEM, EINTR};
      world_.faults.receive_error = kCodes[random.below(kCodes.size())];
      break;
    }
    case EventKind::send_error:
      world_.faults.send_error = ENOBUFS;
      break;
    case EventKind::channel_cut:
      if (worker && world_.process() != nullptr && world_.process()->is_ready()) {
        worker->cut_channel();
      }
      break;
    default:
      happen_to_machine(kind, random);
  }
}

void Life::happen_to_machine(EventKind kind, Random random) {
  const auto until = world_.now() + some_time(random);
  switch (kind) {
    case EventKind::socket_dropped:
      world_.kernel.drop_connection(random.next());
      break;
    case EventKind::sockets_refused:
      world_.faults.refused_sockets =
          static_cast<unsigned>(random.one_in(3) ? 120 : random.below(6));
      break;
    case EventKind::netlink_error: {
      // EINVAL is no fault that passes: the driver says so of a device that is not connected.
      constexpr std::array kCodes = {EBUSY, ENOMEM, ENOBUFS, ENODATA};
      const int code = kCodes[random.below(kCodes.size())];
      world_.faults.netlink =
          NetlinkFault{code, (code == ENOBUFS || code == ENODATA) && random.one_in(2)};
      break;
    }
    case EventKind::no_descriptors:
      world_.faults.no_descriptors_until = until;
      break;
    case EventKind::no_memory:
      world_.memory.free_bytes = world_.memory.reserve_bytes + world_.memory.workers_bytes;
      world_.at(until, [this] { world_.memory.free_bytes = Memory::kPlentyBytes; });
      break;
    case EventKind::no_processes:
      world_.faults.no_processes_until = until;
      break;
    case EventKind::card_goes:
      world_.card.away_until = until;
      for (const auto& worker : world_.workers.living()) {
        const bool is_alone = world_.process() == nullptr || !world_.process()->is_ready();
        if (is_alone && !world_.all_is_kept()) continue;
        if (random.one_in(2)) worker->die("its card is away");
      }
      break;
    case EventKind::imports_fail: {
      constexpr std::array kCodes = {0, ENOMEM, EIO, EINVAL, EMFILE};
      world_.card.import_code = kCodes[random.below(kCodes.size())];
      world_.card.imports_fail_until = until;
      break;
    }
    // The driver does not tell a passing failure from a reset, at times.
    case EventKind::card_fills:
      world_.card.full_until = world_.now() + (random.one_in(2) ? 1h : 60s);
      break;
    case EventKind::imports_seem_stale:
      if (stale_before_ > world_.now()) break;
      stale_before_ = world_.now() + 200s;
      world_.card.import_code = ESTALE;
      world_.card.imports_fail_until = world_.now() + 10s;
      break;
    // With a reset all contexts go. Host memory stays.
    case EventKind::content_lost:
      for (const auto& [inode, store] : world_.stores.all()) {
        if (!store->is_on_card() || random.one_in(3)) continue;
        store->is_destroyed = true;
        world_.kernel.destroy_pages(*store);
      }
      for (const auto& worker : world_.workers.living()) {
        if (worker->has_context()) worker->die("the card was reset");
      }
      break;
    case EventKind::swap_call_error:
      world_.faults.swap_call_error = random.one_in(2) ? EINTR : ENOMEM;
      break;
    case EventKind::swap_off_is_slow:
      world_.faults.swap_off_is_slow = true;
      break;
    case EventKind::swap_off_killed:
      world_.kernel.kill_a_swap_off();
      break;
    case EventKind::device_disconnected:
      world_.kernel.disconnect_by_hand(random.next());
      break;
    case EventKind::swapped_off_by_others:
      world_.kernel.swap_off_by_hand(random.next());
      break;
    default:
      break;
  }
}

}  // namespace

Outcome live(const Plan& plan, bool records) {
  return Life(plan, records).run();
}

}  // namespace vramswap::simulation
