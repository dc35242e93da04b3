#include "tests/simulation/service_manager.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <string_view>

#include "daemon/supervisor/machine/old_program.hpp"
#include "daemon/supervisor/pool/state_publisher.hpp"

namespace vramswap::simulation {
namespace {

constexpr std::string_view kStoreName = "store-";

// As kcmp(2) has it: opened once. A device is a driver here, which each worker opens by itself.
bool is_same_file(int one, int other) {
  struct stat status {};
  return inode_of(one) == inode_of(other) && fstat(one, &status) == 0 && !S_ISCHR(status.st_mode);
}

}  // namespace

std::string page_map_of(const std::string& store_name) {
  if (!store_name.starts_with(kStoreName)) return {};
  const std::size_t end = store_name.find('-', kStoreName.size());
  return "page-map-" + store_name.substr(kStoreName.size(), end - kStoreName.size());
}

// What it does not take is dropped, and the sender is not told. The newest one comes first.
void Manager::push(const std::string& name, int fd) {
  if (!is_there) return;
  wanted_.insert(name);
  if (refuses_stores_ && name.find(kStoreName) != std::string::npos) return;
  if (fds_.size() >= limit_) return;
  const bool is_known = std::ranges::any_of(
      fds_, [&](const auto& kept) { return is_same_file(kept.second.get(), fd); });
  if (is_known) return;
  fds_.emplace(fds_.begin(), name, duplicate(fd));
}

void Manager::remove(const std::string& name) {
  wanted_.erase(name);
  std::erase_if(fds_, [&](const auto& kept) { return kept.first == name; });
}

void Manager::forget_all() {
  wanted_.clear();
  fds_.clear();
}

// Of several with one name, a supervisor sees the last one.
std::map<std::string, UniqueFd> Manager::give() {
  std::map<std::string, UniqueFd> copies;
  for (const auto& [name, fd] : fds_) copies[name] = fd.duplicate();
  wanted_.clear();
  for (const auto& [name, fd] : fds_) wanted_.insert(name);
  has_dropped_some_ = !takes_all();
  return copies;
}

void Manager::change_store(Random random) {
  has_dropped_some_ = may_lack_pages_ = true;
  switch (random.below(8)) {
    case 0:  // daemon-reexec
      serialize();
      break;
    case 1:
    case 2:  // daemon-reload, with another FileDescriptorStoreMax=
      limit_ = random.below(12);
      serialize();
      break;
    case 3:
      refuses_stores_ = true;
      break;
    case 4:
      std::erase_if(fds_, [&](const auto&) { return random.one_in(2); });
      break;
    case 5:
      fds_.clear();
      break;
    default:
      limit_ = kUsualLimit;
      refuses_stores_ = false;
  }
}

std::string Manager::list() const {
  std::string names = fmt::format("{} descriptors", fds_.size());
  for (const auto& [name, fd] : fds_) names += " " + name;
  return names;
}

// It writes its store down, and reads it again in that order.
void Manager::serialize() {
  auto read = std::exchange(fds_, {});
  for (auto& kept : read) {
    if (fds_.size() < limit_) fds_.insert(fds_.begin(), std::move(kept));
  }
}

bool Manager::has(const std::string& name) const {
  return std::ranges::any_of(fds_, [&](const auto& kept) { return kept.first == name; });
}

// A store is of use together with its page map, and with a description of the pool.
bool Manager::keeps(const Stores& stores, const Store& store) const {
  return knows_pool() && std::ranges::any_of(fds_, [&](const auto& kept) {
           const auto& [name, fd] = kept;
           return stores.find(fd.get()).get() == &store && has(page_map_of(name));
         });
}

bool Manager::knows_pool() const {
  return std::ranges::any_of(
      fds_, [](const auto& kept) { return kept.first.starts_with(kDescriptionName); });
}

std::string Manager::first_lacking() const {
  for (const std::string& name : wanted_) {
    if (name != kProgramName && !has(name)) return name;
  }
  return {};
}

std::string Manager::first_of_pool() const {
  for (const auto& [name, fd] : fds_) {
    if (name != kProgramName) return name;
  }
  return {};
}

}  // namespace vramswap::simulation
