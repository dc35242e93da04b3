// `vramswap status --watch`: shows the status repeatedly, with the rates of the workers.
#pragma once

#include <chrono>

#include "swapctl/environment.hpp"

namespace vramswap::swapctl {

// Ends at SIGINT or SIGTERM, which is not a failure, when nothing is up, or when status fails. On a
// terminal each status replaces the previous one; elsewhere an empty line separates them. As JSON,
// each is one line.
ExitCode watch_status(const Environment& environment, std::chrono::milliseconds interval,
                      bool json);

}  // namespace vramswap::swapctl
