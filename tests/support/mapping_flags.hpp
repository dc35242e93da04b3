// The kernel's flags of this process's own mappings.
#pragma once

#include <fstream>
#include <string>
#include <string_view>

namespace vramswap {

// The VmFlags (Documentation/filesystems/proc.rst) of the first mapping whose file is called
// `name`, each between spaces. Empty: no file of that name is mapped.
inline std::string mapping_flags(std::string_view name) {
  constexpr std::string_view kFlags = "VmFlags:";
  std::ifstream smaps("/proc/self/smaps");
  bool is_found = false;
  for (std::string line; std::getline(smaps, line);) {
    if (line.find(name) != std::string::npos) is_found = true;
    if (is_found && line.starts_with(kFlags)) return line.substr(kFlags.size()) + ' ';
  }
  return {};
}

}  // namespace vramswap
