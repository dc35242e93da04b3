// `vramswap status --watch`: the status again and again, with what the workers do meanwhile.
#pragma once

#include <chrono>

#include "swapctl/environment.hpp"

namespace vramswap::swapctl {

// Until SIGINT or SIGTERM comes, which is no failure, or nothing is up, or status would fail.
// On a terminal each look replaces the one before; elsewhere they follow each other, an empty line
// between two. As JSON, each is one line.
ExitCode watch_status(const Environment& environment, std::chrono::milliseconds interval,
                      bool json);

}  // namespace vramswap::swapctl
