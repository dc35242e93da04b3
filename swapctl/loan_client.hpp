// How `lend` and `run` ask the daemon for VRAM.
#pragma once

#include <boost/program_options/value_semantic.hpp>
#include <chrono>
#include <optional>

#include "daemon/control/protocol.hpp"
#include "swapctl/commands.hpp"

namespace vramswap::swapctl {

// The option --wait SECONDS, 0 to a day.
boost::program_options::typed_value<std::string>* wait_option(
    std::optional<std::chrono::seconds>& wait);

// Asks for VRAM and waits until it is free, and shows on a terminal how far that is. EINTR: SIGINT
// or SIGTERM came.
Result<control::Lent> borrow(ControlClient& client, const control::LendRequest& request,
                             const Environment& environment);
// What is missing, and why.
Error shortage(const control::Lent& lent);

}  // namespace vramswap::swapctl
