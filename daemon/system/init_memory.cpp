#include "daemon/system/init_memory.hpp"

#include <cstdint>

#include "daemon/system/proc.hpp"

namespace vramswap {
namespace {

// The kernel adds to a group's account by batches of 64 pages a processor.
constexpr std::uint64_t kTolerance = 512 * 1024;

}  // namespace

bool init_has_memory_outside_its_group(const std::string& status, const std::string& group) {
  const auto process = read_file(status);
  const auto statistics = read_file(group + "/memory.stat");
  if (!process || !statistics) return false;
  const auto resident_kib = find_number(*process, "RssAnon:");
  const auto swapped_kib = find_number(*process, "VmSwap:");
  const auto counted = find_number(*statistics, "anon");
  if (!resident_kib || !swapped_kib || !counted) return false;
  // The limit never covered pages that are in swap already.
  return *swapped_kib > 0 || *resident_kib * 1024 > *counted + kTolerance;
}

}  // namespace vramswap
