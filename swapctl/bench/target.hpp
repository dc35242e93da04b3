// The targets of a measurement: active swap areas, and the scratch segment.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "daemon/base/error.hpp"

namespace vramswap::swapctl {

// The name of the scratch segment on the command line and in reports.
inline constexpr const char* kScratchName = "scratch";

struct Target {
  std::string name;  // the path, or "scratch"
  // "partition", which is any other block device, "file", "zram", "nbd", or "vramswap". For the
  // scratch segment its store: the GPU's name, or "ram".
  std::string kind;
  std::uint64_t size_bytes = 0;
  std::uint64_t used_bytes = 0;
};

// The active swap areas, in the order in which the kernel lists them.
Result<std::vector<Target>> find_targets(const std::string& swaps_path,
                                         const std::string& block_directory);

// The targets that `names` name, each once, in the order of `targets`. A name may be another path
// of the same device, e.g. in /dev/mapper. Ignores "scratch". An error: a name is not an active
// swap area.
Result<std::vector<Target>> choose_targets(const std::vector<Target>& targets,
                                           const std::vector<std::string>& names);

}  // namespace vramswap::swapctl
