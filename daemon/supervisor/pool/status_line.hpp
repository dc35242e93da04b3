// How the pool is, in words, for the line that `systemctl status` shows. It tells the states apart
// that `vramswap status` does. It asks the kernel nothing, for it is written also while no worker
// serves and memory is short; so it does not say how much is in use.
#pragma once

#include <string>

#include "daemon/supervisor/pool/pool_parts.hpp"

namespace vramswap {

// The worst that there is to say comes first: "degraded: somebody else has disconnected
// /dev/nbd1000", "7G of swap on 1 GPU, 7 segments".
std::string status_line(const PoolParts& parts);

}  // namespace vramswap
