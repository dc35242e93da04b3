// Changes by other programs that a status shows.
#pragma once

#include <optional>
#include <string>

#include "daemon/control/protocol.hpp"
#include "swapctl/environment.hpp"

namespace vramswap::swapctl {

struct Trouble {
  std::string text;
  std::string advice;
  ExitCode exit_code;
};

// The change that another program made to the swap. No value: none, or nothing is up.
std::optional<Trouble> made_by_others(const control::Status& status);

}  // namespace vramswap::swapctl
