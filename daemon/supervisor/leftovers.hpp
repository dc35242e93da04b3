// Devices that an earlier supervisor left connected.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "daemon/base/error.hpp"
#include "daemon/control/scratch.hpp"

namespace vramswap {

struct NbdDevice {
  std::uint32_t index;
  std::string identifier;
};
// Connected devices of ours, whichever vramswapd of this purpose they belong to.
std::vector<NbdDevice> find_our_devices(Purpose purpose,
                                        const std::string& block_directory = "/sys/block");

// Disconnects those of our devices that carry no swap and whose identifier does not begin with
// `adopted`. One that carries swap is an error that names it: what served it is gone, and so are
// its pages.
Result<void> disconnect_leftovers(Purpose purpose, const std::string& adopted,
                                  const std::string& block_directory = "/sys/block",
                                  const std::string& swaps_path = "/proc/swaps");

}  // namespace vramswap
