// What there is to measure: the swap areas that are active, and the scratch segment.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "daemon/base/error.hpp"

namespace vramswap::swapctl {

// As the scratch segment is called on the command line and in reports.
inline constexpr const char* kScratchName = "scratch";

struct Target {
  std::string name;  // the path, or "scratch"
  // "partition", which is any block device, "file", "zram", "nbd", or "vramswap"; of scratch its
  // store: the GPU's name, or "ram".
  std::string kind;
  std::uint64_t size_bytes = 0;
  std::uint64_t used_bytes = 0;
};

// The active swap areas, in the order in which the kernel lists them.
Result<std::vector<Target>> find_targets(const std::string& swaps_path,
                                         const std::string& block_directory);

// Those of `names`, each once, in their order among `targets`. A name may be another path of the
// same device, as /dev/mapper has them; "scratch" is passed over. An error if one is no active
// swap.
Result<std::vector<Target>> choose_targets(const std::vector<Target>& targets,
                                           const std::vector<std::string>& names);

}  // namespace vramswap::swapctl
