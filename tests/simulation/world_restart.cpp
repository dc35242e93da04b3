// The part of World that restarts the service, as `systemctl restart` does, and judges how it was
// done.
#include <algorithm>

#include "tests/simulation/process.hpp"
#include "tests/simulation/world.hpp"

namespace vramswap::simulation {
namespace {

using namespace std::chrono_literals;

constexpr std::chrono::nanoseconds kStopTimeout = 45s;  // TimeoutStopSec= of the unit
// Longer than a restart takes where nothing goes wrong, with all looks at the fd store.
constexpr std::chrono::nanoseconds kRestartTime = 20s;
constexpr std::chrono::nanoseconds kStatusTime = 1s;

}  // namespace

void World::restart_service() {
  note("service manager: restarts the supervisor");
  const bool is_being_stopped = process_ && process_->is_signalled();
  if (!manager.has_restart_job && !is_being_stopped && !clients.any_changes_swap()) {
    swap_before_ = SwapBefore{swap_priorities(), clients.interferences()};
  }
  manager.has_restart_job = true;
  signal_for_restart();
  // Once more: it may have become another program meanwhile, which has not heard of it. Then
  // systemd starts the next one beside it, which waits for the lock; here it starts afterwards.
  after(kStopTimeout, [this] {
    if (manager.has_restart_job) signal_for_restart();
  });
}

void World::change_fdstore(Random random) {
  manager.change_store(random);
  note("service manager: keeps {}", manager.list());
  for (const auto& [inode, store] : stores.all()) may_be_freed(*store);
}

void World::signal_for_restart() {
  if (process_ && process_->is_alive()) {
    process_->take_signal();
  } else {
    ensure_process();
  }
}

std::map<std::string, int> World::swap_priorities() const {
  std::map<std::string, int> priorities;
  for (const SwapArea& area : kernel.areas()) priorities[area.path] = area.priority;
  return priorities;
}

std::map<std::string, pid_t> World::swap_servers() const {
  std::map<std::string, pid_t> pids;
  for (const auto& [index, device] : kernel.devices()) {
    if (!device.is_swap || !device.store) continue;
    if (const auto worker = workers.holder_of(*device.store)) pids[device.path()] = worker->pid;
  }
  return pids;
}

void World::on_process_ready() {
  if (manager.has_restart_job) return;
  const auto before = std::exchange(swap_before_, std::nullopt);
  if (!before || before->interferences != clients.interferences()) return;
  const auto now = swap_priorities();
  for (const auto& [path, priority] : before->priorities) {
    const auto found = now.find(path);
    if (found != now.end() && found->second == priority) continue;
    violate(fmt::format("a restart takes the swap on {} away", path));
  }
}

// It has not yet heard of a worker that died a moment ago.
void World::check_process_may_end() {
  if (workers.any_died_just_now()) return;
  for (const auto& [index, device] : kernel.devices()) {
    if (!device.is_swap || !device.store || device.pages.size() == device.destroyed.size()) {
      continue;
    }
    if (manager.keeps(stores, *device.store) || workers.holder_of(*device.store)) continue;
    violate(fmt::format("the supervisor ends, and it alone holds the store of {}", device.path()));
  }
  if (process_->knows_pool() && kernel.has_swap() && !is_pool_known()) {
    violate("the supervisor ends, and it alone knows the pool");
  }
}

void World::give_up_forgotten_pool() {
  if (manager.may_lack_pages() && kernel.has_swap() && !is_pool_known()) {
    give_up("nobody has kept the description of the pool");
  }
}

bool World::all_is_kept() const {
  if (!manager.is_there || (kernel.has_swap() && !manager.knows_pool())) return false;
  return std::ranges::all_of(kernel.devices(), [&](const auto& known) {
    const Device& device = known.second;
    return !device.is_swap || !device.is_connected || !device.store ||
           manager.keeps(stores, *device.store);
  });
}

void World::check_fdstore() {
  const std::string lacking = manager.first_lacking();
  if (!lacking.empty() && !manager.has_dropped_some()) {
    violate(fmt::format("the service manager is given {}, and does not keep it", lacking));
  }
  if (!manager.may_lack_pages() || !manager.takes_all() || !lacking.empty()) return;
  if (all_is_kept()) manager.note_all_is_kept();
}

void World::restart_and_check() {
  if (!process_ || !process_->is_ready() || process_->has_nothing_up()) return;
  if (!manager.is_there || process_->is_signalled()) return;
  const unsigned number = process_count_;
  const auto areas = swap_priorities();
  const auto servers = swap_servers();
  restart_service();
  pass(kRestartTime);
  if (is_over_) return;
  if (process_count_ != number + 1 || !process_ || !process_->is_ready()) {
    return violate("a restart is not over");
  }
  if (swap_priorities() != areas) return violate("a restart changes the swap areas");
  if (swap_servers() != servers) return violate("a restart changes the workers");
  const auto lacking = manager.first_lacking();
  clients.ask(control::StatusRequest{});
  pass(kStatusTime);
  if (is_over_) return;
  const auto& notes = clients.last_status().notes;
  if (!lacking.empty() && notes.empty()) {
    violate(fmt::format("the service manager lacks {}, and status does not say so", lacking));
  } else if (lacking.empty() && !notes.empty()) {
    violate(fmt::format("the service manager lacks nothing, and status says: {}", notes.front()));
  }
  if (manager.takes_all() && !all_is_kept()) {
    violate("the service manager is not given again what it has dropped");
  }
}

}  // namespace vramswap::simulation
