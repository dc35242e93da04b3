#include "daemon/system/cpu.hpp"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>
#include <vector>

#include "daemon/base/directory.hpp"
#include "daemon/system/proc.hpp"

namespace vramswap {
namespace {

// The kernel refuses a mask that is shorter than its own; no kernel is built for more than 8192
// processors.
constexpr std::size_t kMaxCpus = 8192;

// 17 for "cpu17"; other folders are there, too.
std::optional<unsigned> number_of(std::string_view name) {
  unsigned number = 0;
  if (!name.starts_with("cpu")) return std::nullopt;
  name.remove_prefix(3);
  const auto [end, error] = std::from_chars(name.begin(), name.end(), number);
  if (error != std::errc{} || end != name.end()) return std::nullopt;
  return number;
}

}  // namespace

std::set<unsigned> allowed_cpus() {
  std::vector<cpu_set_t> mask(kMaxCpus / CPU_SETSIZE);
  const std::size_t bytes = mask.size() * sizeof(cpu_set_t);
  if (sched_getaffinity(0, bytes, mask.data()) != 0) return {};
  std::set<unsigned> cpus;
  for (unsigned cpu = 0; cpu < kMaxCpus; ++cpu) {
    if (CPU_ISSET_S(cpu, bytes, mask.data())) cpus.insert(cpu);
  }
  return cpus;
}

unsigned count_allowed_cpus() {
  return std::max(1U, static_cast<unsigned>(allowed_cpus().size()));
}

unsigned count_physical_cores(const std::set<unsigned>& cpus, const std::string& cpu_directory) {
  std::set<std::string> cores;  // by the list of their hyper-threads
  const auto names = list_directory(cpu_directory);
  if (!names) return 1;
  for (const std::string& name : *names) {
    const auto number = number_of(name);
    if (!number || (!cpus.empty() && !cpus.contains(*number))) continue;
    // An offline CPU has no topology.
    auto threads =
        read_file(fmt::format("{}/{}/topology/thread_siblings_list", cpu_directory, name));
    if (threads) cores.insert(*std::move(threads));
  }
  return std::max(1U, static_cast<unsigned>(cores.size()));
}

}  // namespace vramswap
