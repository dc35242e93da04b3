// Something that serves one segment over sockets.
#pragma once

#include <vector>

#include "daemon/base/error.hpp"
#include "daemon/base/unique_fd.hpp"

namespace vramswap::bench {

class Server {
 public:
  virtual ~Server() = default;
  // New connections, each served by a thread of its own from now on; the kernel's ends of them.
  virtual Result<std::vector<UniqueFd>> connect(unsigned count) = 0;
  // Closes them and returns when the server has noticed. An error also where it ended one by
  // itself.
  virtual Result<void> disconnect(std::vector<UniqueFd> sockets) = 0;
};

}  // namespace vramswap::bench
