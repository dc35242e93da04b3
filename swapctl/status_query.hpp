// What `status` asks the daemon.
#pragma once

#include <optional>

#include "swapctl/environment.hpp"

namespace vramswap::swapctl {

// No value: no daemon runs. Where one has died with its swap up, it is started again, by root.
// EINTR: `interrupt_fd` became readable while it was waited for the answer; -1: none.
Result<std::optional<control::Status>> ask_status(const Environment& environment,
                                                  int interrupt_fd = -1);

}  // namespace vramswap::swapctl
