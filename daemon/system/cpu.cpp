#include "daemon/system/cpu.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "daemon/base/directory.hpp"
#include "daemon/system/proc.hpp"

namespace vramswap {

unsigned count_physical_cores(const std::string& cpu_directory) {
  std::set<std::string> cores;  // by the list of their hyper-threads
  const auto names = list_directory(cpu_directory);
  if (!names) return 1;
  for (const std::string& name : *names) {
    // An offline CPU has no topology.
    auto threads =
        read_file(fmt::format("{}/{}/topology/thread_siblings_list", cpu_directory, name));
    if (threads) cores.insert(*std::move(threads));
  }
  return std::max(1U, static_cast<unsigned>(cores.size()));
}

}  // namespace vramswap
