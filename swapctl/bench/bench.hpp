// The command `vramswap bench`.
#pragma once

#include "swapctl/commands.hpp"

namespace vramswap::swapctl {

Command bench_command();

}  // namespace vramswap::swapctl
