#include "tests/simulation/world.hpp"

#include <cerrno>
#include <utility>

#include "tests/simulation/process.hpp"

namespace vramswap::simulation {
namespace {

using namespace std::chrono_literals;

constexpr std::chrono::nanoseconds kRestartPause = 100ms;  // RestartSec= of the unit

}  // namespace

World::World(std::uint64_t seed, bool has_service_manager, bool records)
    : records_(records), random_(seed) {
  manager.is_there = has_service_manager;
}

World::~World() {
  on_step = [] {};
  if (process_) process_->die();
  process_.reset();
  schedule_.clear();
}

void World::run_ready() {
  while (!is_over_) {
    if (process_ && !process_->is_alive()) bury();
    if (!process_ || !process_->run_one()) break;
    on_step();
  }
  if (process_ && !process_->is_alive()) bury();
  if (!is_over_) check();
}

bool World::run_next(TimePoint limit) {
  if (is_over_ || schedule_.empty() || schedule_.begin()->first > limit) return false;
  auto next = schedule_.extract(schedule_.begin());
  now_ = next.key();
  next.mapped()();
  return true;
}

void World::pass(std::chrono::nanoseconds time) {
  const TimePoint limit = now_ + time;
  run_ready();
  while (run_next(limit)) run_ready();
  now_ = std::max(now_, limit);
}

void World::violate(const std::string& what) {
  if (is_over_) return;
  note("VIOLATION: {}", what);
  violation_ = what;
  is_over_ = true;
}

void World::give_up(const std::string& why) {
  if (is_over_) return;
  note("the life ends: {}", why);
  is_over_ = true;
}

void World::add_to_log(const std::string& line) {
  const auto time = std::chrono::duration_cast<std::chrono::microseconds>(now_ - TimePoint() -
                                                                          std::chrono::hours(1));
  log_.push_back(fmt::format("{:11.6f}  {}", static_cast<double>(time.count()) / 1e6, line));
}

void World::ensure_process() {
  if (process_ && process_->is_alive()) return;
  if (process_) {
    if (!successor_) successor_ = [this] { ensure_process(); };
    return;
  }
  ++process_count_;
  note("supervisor {}: starts", process_count_);
  manager.has_restart_job = false;
  give_up_forgotten_pool();
  start_process(manager.give(), std::nullopt);
}

void World::start_process(std::map<std::string, UniqueFd> inherited,
                          std::optional<std::size_t> client) {
  process_ = std::make_unique<Process>(*this, process_count_);
  process_->start(std::move(inherited), client);
}

// Its frames may be on the stack: what is left of it goes when they have returned.
void World::kill_process() {
  if (!process_ || !process_->is_alive()) return;
  note("supervisor: dies");
  process_->die();
  kernel.kill_all_swap_offs();
  clients.on_supervisor_end(std::nullopt);
  clients.give_up_waiting();
  for (const auto& [inode, store] : stores.all()) may_be_freed(*store);
  if (manager.is_there) after(kRestartPause, [this] { ensure_process(); });
}

void World::replace_process(std::map<std::string, UniqueFd> inherited,
                            std::optional<std::size_t> client) {
  clients.on_supervisor_end(client);
  auto fds = std::make_shared<std::map<std::string, UniqueFd>>(std::move(inherited));
  successor_ = [this, fds, client] { start_process(std::move(*fds), client); };
}

void World::on_process_end(const Result<void>& result) {
  clients.on_supervisor_end(std::nullopt);
  if (!result) clients.give_up_waiting();
  give_up_forgotten_pool();
  // Those who came too late for it start another one.
  if (clients.any_waits_for_supervisor()) after(kRestartPause, [this] { ensure_process(); });
  if (!manager.is_there) return;
  if (manager.has_restart_job) {
    for (const auto& [inode, store] : stores.all()) may_be_freed(*store);
    after(kRestartPause, [this] { ensure_process(); });
    return;
  }
  // As the unit says: it is started again, except after a refusal, and then the store goes.
  const bool is_final =
      result || result.error().code == EPROTO || result.error().code == EOWNERDEAD;
  if (!is_final) {
    after(kRestartPause, [this] { ensure_process(); });
  } else if (const auto kept = manager.first_of_pool(); result && !kept.empty()) {
    violate(fmt::format("the supervisor ends, and the service manager keeps {}", kept));
  }
  if (is_final) manager.forget_all();
}

void World::bury() {
  process_.reset();
  kernel.note_sockets_changed();
  if (const auto successor = std::exchange(successor_, nullptr)) successor();
}

// True where supervisor and worker have died together, and no service manager keeps it.
bool World::may_be_freed(const Store& store) {
  if (!store.reserve_of.empty()) return true;
  if (manager.is_there && !manager.may_lack_pages()) return false;
  if (manager.keeps(stores, store)) return false;
  const bool supervisor_has_it =
      process_ && process_->is_alive() && store.given_to_process == process_->number();
  if (supervisor_has_it) return false;
  if (workers.holder_of(store)) return false;
  kernel.destroy_pages(store);
  if (!manager.is_there && kernel.has_swap())
    give_up("both have died, and nobody keeps the memory");
  return true;
}

void World::heal() {
  note("from now on nothing goes wrong");
  is_quiet = true;
  faults = {};
  card.away_until = {};
  card.imports_fail_until = {};
  memory.free_bytes = Memory::kPlentyBytes;
  for (const auto& worker : workers.living()) worker->go_on();
}

void World::check() {
  kernel.check();
  check_fdstore();
  if (!process_ || !process_->has_nothing_up()) return;
  // Nothing may be left of what is down.
  if (!kernel.find_devices("vramswap-").empty() && !kernel.was_touched_by_others()) {
    violate("a device is left, and nothing is up");
  }
  if (const auto kept = manager.first_of_pool(); !kept.empty()) {
    violate(fmt::format("the service manager keeps {}, and nothing is up", kept));
  }
}

}  // namespace vramswap::simulation
