#include "tests/simulation/store.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

namespace vramswap::simulation {

ino_t inode_of(int fd) {
  struct stat status {};
  return fstat(fd, &status) == 0 ? status.st_ino : 0;
}

bool Store::is_freed() const {
  pollfd end{watch.get(), 0, 0};
  return poll(&end, 1, 0) > 0;
}

std::pair<std::shared_ptr<Store>, UniqueFd> Stores::create(std::uint64_t page_count, StoreId id) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) std::abort();
  auto store = std::make_shared<Store>();
  store->number = ++last_number_;
  store->id = id;
  store->pages.resize(page_count);
  store->watch = UniqueFd(ends[0]);
  stores_[inode_of(ends[1])] = store;  // both ends have the same
  return {store, UniqueFd(ends[1])};
}

std::shared_ptr<Store> Stores::find(int fd) const {
  const auto found = stores_.find(inode_of(fd));
  return found == stores_.end() ? nullptr : found->second;
}

unsigned Stores::count_held() const {
  return static_cast<unsigned>(
      std::ranges::count_if(stores_, [](const auto& known) { return !known.second->is_freed(); }));
}

bool Stores::is_reserve_held(const std::string& card) const {
  return std::ranges::any_of(stores_, [&](const auto& known) {
    return known.second->reserve_of == card && !known.second->is_freed();
  });
}

}  // namespace vramswap::simulation
