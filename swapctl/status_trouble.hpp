// What a status says of others' doing.
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

// What somebody else has done to the swap that is up. No value: nothing, or nothing is up.
std::optional<Trouble> made_by_others(const control::Status& status);

}  // namespace vramswap::swapctl
