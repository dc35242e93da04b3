// Devices that an earlier supervisor left connected.
#pragma once

#include <string>
#include <string_view>

#include "daemon/base/error.hpp"

namespace vramswap {

// What the backend identifiers of our devices begin with.
inline constexpr std::string_view kBackendPrefix = "vramswap-";

// Disconnects those that carry no swap, recognised by their backend identifier. One that does is an
// error that names it: a second pool beside it would be an accident.
Result<void> disconnect_leftovers(const std::string& block_directory = "/sys/block",
                                  const std::string& swaps_path = "/proc/swaps");

}  // namespace vramswap
