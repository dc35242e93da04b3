#include "swapctl/doctor/swap_checks.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "daemon/control/protocol.hpp"
#include "daemon/control/size.hpp"
#include "daemon/system/proc.hpp"

namespace vramswap::swapctl {
namespace {

// The maximum. Each further segment has a priority that is one lower.
constexpr int kSegments = 16;

// The daemon takes /dev/nbd1000 to 1999.
bool is_ours(const SwapArea& area) {
  constexpr std::string_view kFirst = "/dev/nbd1000";
  return area.path.starts_with("/dev/nbd1") && area.path.size() == kFirst.size();
}

bool is_zram(const SwapArea& area) {
  return area.path.starts_with("/dev/zram");
}

std::string shown(const SwapArea& area) {
  return fmt::format("{} ({})", area.path, area.priority);
}

struct Priorities {
  int low;
  int high;
};

// The priorities of the swap that is up, or those that `up` would give to at most 16 segments.
Priorities priorities_of_ours(const std::vector<SwapArea>& areas, int priority) {
  Priorities ours{std::max(priority - kSegments + 1, 0), priority};
  // The kernel gives a new area a lower priority than all others.
  if (priority < 0) ours.low = ours.high = std::numeric_limits<int>::min();
  const auto first = std::ranges::find_if(areas, is_ours);
  if (first == areas.end()) return ours;
  ours = {first->priority, first->priority};
  for (const auto& area : areas) {
    if (!is_ours(area)) continue;
    ours = {std::min(ours.low, area.priority), std::max(ours.high, area.priority)};
  }
  return ours;
}

std::string shown(const Priorities& ours) {
  if (ours.high == std::numeric_limits<int>::min()) return "the lowest";
  if (ours.low == ours.high) return fmt::format("{}", ours.high);
  return fmt::format("{} to {}", ours.low, ours.high);
}

}  // namespace

// zram answers in a few microseconds, VRAM in a few tens, a disk in hundreds.
Finding check_other_swap(const Tree& tree, int priority) {
  constexpr const char* kName = "other swap";
  const auto areas = read_swap_areas(tree.path("/proc/swaps"));
  if (!areas) return unknown(kName, areas.error().message, "mount /proc");
  const Priorities ours = priorities_of_ours(*areas, priority);
  std::vector<std::string> others;
  for (const auto& area : *areas) {
    if (is_ours(area)) continue;
    others.push_back(shown(area));
    if (is_zram(area) && area.priority <= ours.high) {
      return warning(
          kName,
          fmt::format(
              "{} is not above VRAM ({}): it is faster, but the kernel does not fill it first",
              shown(area), shown(ours)),
          fmt::format("'vramswap up --priority {}', or give zram a higher one",
                      std::max(area.priority - 1, control::kMinPriority)));
    }
    if (!is_zram(area) && area.priority >= ours.low) {
      return warning(
          kName,
          fmt::format(
              "{} is not below VRAM ({}): it is slower, but the kernel does not fill VRAM first",
              shown(area), shown(ours)),
          fmt::format("'vramswap up --priority {}', or give it a lower one",
                      std::clamp(area.priority + kSegments, kSegments, control::kMaxPriority)));
    }
  }
  if (others.empty()) return ok(kName, "none: 'down' needs free memory for every page");
  return ok(kName, fmt::format("{}; VRAM has {}", fmt::join(others, ", "), shown(ours)));
}

Finding check_zswap(const Tree& tree) {
  constexpr const char* kName = "zswap";
  constexpr const char* kEnabled = "/sys/module/zswap/parameters/enabled";
  if (tree.text(kEnabled) != "Y") return ok(kName, "off");
  return warning(kName, "on: it compresses pages in memory before they come to VRAM",
                 fmt::format("echo N > {}, and zswap.enabled=0 for the next boot", kEnabled));
}

Finding check_overcommit(const Tree& tree) {
  constexpr const char* kName = "overcommit";
  const auto commitment = read_memory_commitment(tree.path("/proc/sys/vm/overcommit_memory"),
                                                 tree.path("/proc/meminfo"));
  if (!commitment) return unknown(kName, commitment.error().message, "mount /proc");
  if (!*commitment) return ok(kName, "not limited");
  return warning(kName,
                 fmt::format("vm.overcommit_memory is 2: 'down' is refused if programs have "
                             "allocated more than the limit without this swap (now {} of {})",
                             control::format_bytes((*commitment)->committed_bytes),
                             control::format_bytes((*commitment)->limit_bytes)),
                 "sysctl vm.overcommit_memory=0, or a larger vm.overcommit_ratio");
}

// A request over NBD costs the same for 1 page and for 8, and wrong guesses cost VRAM nothing:
// contrib/docs/performance.md, vm.page-cluster, has the measurements.
Finding check_page_cluster(const Tree& tree) {
  constexpr const char* kName = "vm.page-cluster";
  const std::string value = tree.text("/proc/sys/vm/page-cluster");
  const auto areas = read_swap_areas(tree.path("/proc/swaps"));
  if (value.empty()) return unknown(kName, "cannot be read", "mount /proc");
  if (value != "0" && value != "1" && value != "2") return ok(kName, value);
  if (areas && std::ranges::any_of(*areas, is_zram)) {
    return ok(kName, fmt::format("{}, which suits zram", value));
  }
  return warning(kName,
                 fmt::format("{}: fewer than 8 pages a request, so reading in sequence from VRAM "
                             "takes up to twice as long",
                             value),
                 "sysctl vm.page-cluster=3");
}

Findings swap_findings(const Tree& tree, int priority) {
  return {check_other_swap(tree, priority), check_zswap(tree), check_overcommit(tree),
          check_page_cluster(tree)};
}

}  // namespace vramswap::swapctl
