// The simulated service manager: keeps descriptors for the next supervisor, and starts it.
#pragma once

#include <map>
#include <string>

#include "daemon/base/unique_fd.hpp"

namespace vramswap::simulation {

// As systemd: of one name there may be several, and the same file under the same name is kept once.
struct Manager {
  bool is_there = false;
  std::multimap<std::string, UniqueFd> fds;

  void push(const std::string& name, int fd);
  void remove(const std::string& name) { fds.erase(name); }
  // Copies, for a supervisor that starts; the last one of each name.
  std::map<std::string, UniqueFd> copies() const;
};

}  // namespace vramswap::simulation
