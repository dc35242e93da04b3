// Asks the daemon for its status.
#pragma once

#include <optional>

#include "swapctl/environment.hpp"

namespace vramswap::swapctl {

// No value: no daemon runs. If a daemon died with its swap up and the user is root, starts it
// again. EINTR: `interrupt_fd` became readable before the answer came; -1: there is none.
Result<std::optional<control::Status>> ask_status(const Environment& environment,
                                                  int interrupt_fd = -1);

}  // namespace vramswap::swapctl
