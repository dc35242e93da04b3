#include "daemon/system/cpu.hpp"

#include <algorithm>
#include <filesystem>
#include <set>

#include "daemon/system/proc.hpp"

namespace vramswap {

unsigned count_physical_cores(const std::string& cpu_directory) {
  std::set<std::string> cores;  // by the list of their hyper-threads
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(cpu_directory, error)) {
    // An offline CPU has no topology.
    if (auto threads = read_file(entry.path() / "topology/thread_siblings_list")) {
      cores.insert(*std::move(threads));
    }
  }
  return std::max(1U, static_cast<unsigned>(cores.size()));
}

}  // namespace vramswap
