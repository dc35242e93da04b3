#include "tests/simulation/service_manager.hpp"

#include <fcntl.h>

#include "tests/simulation/store.hpp"

namespace vramswap::simulation {

void Manager::push(const std::string& name, int fd) {
  if (!is_there) return;
  const auto [first, last] = fds.equal_range(name);
  for (auto known = first; known != last; ++known) {
    if (inode_of(known->second.get()) == inode_of(fd)) return;
  }
  fds.emplace(name, duplicate(fd));
}

std::map<std::string, UniqueFd> Manager::copies() const {
  std::map<std::string, UniqueFd> copies;
  for (const auto& [name, fd] : fds) copies[name] = fd.duplicate();
  return copies;
}

}  // namespace vramswap::simulation
