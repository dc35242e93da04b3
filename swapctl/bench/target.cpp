#include "swapctl/bench/target.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "daemon/control/scratch.hpp"
#include "daemon/system/block_queue.hpp"
#include "daemon/system/proc.hpp"

namespace vramswap::swapctl {
namespace {

std::string kind_of(const SwapArea& area, const std::string& block_directory) {
  const std::string device = std::filesystem::path(area.path).filename();
  if (area.type != "partition") return area.type;
  if (device.starts_with("zram")) return "zram";
  if (!device.starts_with("nbd")) return area.type;
  const auto identifier = read_backend_identifier(device, block_directory);
  return identifier.starts_with(kSwapDevicePrefix) ? "vramswap" : "nbd";
}

// The path with all links resolved; the path itself if that fails.
std::string resolved(const std::string& path) {
  std::error_code error;
  const auto leads_to = std::filesystem::canonical(path, error);
  return error ? path : leads_to.string();
}

}  // namespace

Result<std::vector<Target>> find_targets(const std::string& swaps_path,
                                         const std::string& block_directory) {
  const auto areas = read_swap_areas(swaps_path);
  if (!areas) return areas.error();
  std::vector<Target> targets;
  for (const SwapArea& area : *areas) {
    targets.push_back({.name = area.path,
                       .kind = kind_of(area, block_directory),
                       .size_bytes = area.size_bytes,
                       .used_bytes = area.used_bytes});
  }
  return targets;
}

Result<std::vector<Target>> choose_targets(const std::vector<Target>& targets,
                                           const std::vector<std::string>& names) {
  std::set<std::string> wanted;
  for (const std::string& name : names) {
    if (name == kScratchName) continue;
    const std::string path = resolved(name);
    const auto is_named = [&](const Target& target) {
      return target.name == name || resolved(target.name) == path;
    };
    const auto target = std::ranges::find_if(targets, is_named);
    if (target == targets.end()) {
      return fail(fmt::format(
          "'{}' is not an active swap: name one that swapon --show lists, or scratch", name));
    }
    wanted.insert(target->name);
  }
  std::vector<Target> chosen;
  std::ranges::copy_if(targets, std::back_inserter(chosen),
                       [&](const Target& target) { return wanted.contains(target.name); });
  return chosen;
}

}  // namespace vramswap::swapctl
