// All simulated workers, and the sockets that they listen at.
#include <algorithm>

#include "tests/simulation/worker.hpp"
#include "tests/simulation/world.hpp"

namespace vramswap::simulation {
namespace {

using namespace std::chrono_literals;

constexpr std::chrono::nanoseconds kNews = 3ms;  // until a supervisor hears of a death, at most

}  // namespace

std::shared_ptr<SimWorker> Workers::spawn(unsigned child_of) {
  std::erase_if(workers_, [](const auto& worker) { return !worker->is_alive; });
  return workers_.emplace_back(std::make_shared<SimWorker>(world_, ++last_pid_, child_of));
}

void Workers::listen(const std::string& socket, const std::shared_ptr<SimWorker>& worker) {
  sockets_[socket] = worker;
}

std::shared_ptr<SimWorker> Workers::listening_at(const std::string& socket) const {
  const auto found = sockets_.find(socket);
  const auto worker = found == sockets_.end() ? nullptr : found->second.lock();
  return worker && worker->is_alive ? worker : nullptr;
}

std::vector<std::string> Workers::sockets() const {
  std::vector<std::string> paths;
  for (const auto& [path, worker] : sockets_) paths.push_back(path);
  return paths;
}

std::vector<std::shared_ptr<SimWorker>> Workers::living() const {
  std::vector<std::shared_ptr<SimWorker>> living;
  for (const auto& worker : workers_) {
    if (worker->is_alive) living.push_back(worker);
  }
  return living;
}

std::shared_ptr<SimWorker> Workers::choose(std::uint64_t choice) const {
  const auto all = living();
  return all.empty() ? nullptr : all[choice % all.size()];
}

bool Workers::any_is_being_set_up() const {
  return std::ranges::any_of(workers_,
                             [](const auto& worker) { return worker->is_being_set_up(); });
}

bool Workers::any_died_just_now() const {
  return world_.now() - last_death_ < kNews;
}

bool Workers::any_knows_pool() const {
  return std::ranges::any_of(living(), [](const auto& worker) { return worker->knows_pool(); });
}

std::shared_ptr<SimWorker> Workers::holder_of(const Store& store) const {
  for (const auto& worker : living()) {
    for (const auto& [id, segment] : worker->segments) {
      if (segment.store.get() == &store) return worker;
    }
  }
  return nullptr;
}

}  // namespace vramswap::simulation
