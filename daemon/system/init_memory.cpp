#include "daemon/system/init_memory.hpp"

#include <cstdint>
#include <sstream>

#include "daemon/system/proc.hpp"

namespace vramswap {
namespace {

// The kernel adds to a group's account by batches of 64 pages a processor.
constexpr std::uint64_t kTolerance = 512 * 1024;

// The number behind `key` at the beginning of a line.
std::optional<std::uint64_t> number_of(const Result<std::string>& text, std::string_view key) {
  if (!text) return std::nullopt;
  std::istringstream lines(*text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string name;
    std::uint64_t value = 0;
    if (words >> name >> value && name == key) return value;
  }
  return std::nullopt;
}

}  // namespace

bool init_has_memory_outside_its_group(const std::string& status, const std::string& group) {
  const auto process = read_file(status);
  const auto resident_kib = number_of(process, "RssAnon:");
  const auto swapped_kib = number_of(process, "VmSwap:");
  const auto counted = number_of(read_file(group + "/memory.stat"), "anon");
  if (!resident_kib || !swapped_kib || !counted) return false;
  // What is in swap already was never under the limit.
  return *swapped_kib > 0 || *resident_kib * 1024 > *counted + kTolerance;
}

}  // namespace vramswap
