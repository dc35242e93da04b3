// The command `vramswap doctor`.
#pragma once

#include "swapctl/commands.hpp"

namespace vramswap::swapctl {

Command doctor_command();

}  // namespace vramswap::swapctl
