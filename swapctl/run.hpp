// All of `vramswap` except main(): arguments in, exit code out; everything outside is passed in.
#pragma once

#include <span>

#include "swapctl/commands.hpp"

namespace vramswap::swapctl {

// `arguments` are those after the program's name. `commands` are listed by --help in their order.
int run(std::span<const char* const> arguments, std::span<const Command> commands,
        const Environment& environment);

}  // namespace vramswap::swapctl
