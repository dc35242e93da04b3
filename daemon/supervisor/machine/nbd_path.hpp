// Which nbd device a line of /proc/swaps means.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "daemon/system/proc.hpp"

namespace vramswap {

// "/dev/nbdN", or nothing if the area is on another device or in a file. /proc/swaps shows the path
// of the file that was opened by swapon(2), as the mount namespace of its caller had it: "/nbd0" if
// that namespace is gone, "/dev/nbd0 (deleted)" if the file is. `device_number` is that of the
// block device at the area's path, if there is one: it decides. `block_directory` is /sys/block.
std::optional<std::string> nbd_path(const SwapArea& area, std::optional<dev_t> device_number,
                                    const std::string& block_directory);

// All swap areas, in the kernel's order; those on nbd devices have that path.
Result<std::vector<SwapArea>> read_nbd_swap_areas(const std::string& swaps,
                                                  const std::string& block_directory);

}  // namespace vramswap
