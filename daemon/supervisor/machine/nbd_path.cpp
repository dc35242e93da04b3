#include "daemon/supervisor/machine/nbd_path.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <string_view>

#include "daemon/base/directory.hpp"

namespace vramswap {
namespace {

constexpr unsigned kNbdMajor = 43;  // Documentation/admin-guide/devices.txt

bool is_nbd_name(std::string_view name) {
  constexpr std::string_view kPrefix = "nbd";
  if (!name.starts_with(kPrefix) || name == kPrefix) return false;
  return std::ranges::all_of(name.substr(kPrefix.size()),
                             [](char c) { return c >= '0' && c <= '9'; });
}

// How many minors a device has depends on the module's parameter max_part, so sysfs is asked.
std::optional<std::string> find_device(dev_t number, const std::string& block_directory) {
  const auto numbers = fmt::format("{}:{}\n", major(number), minor(number));
  const auto names = list_directory(block_directory);
  if (!names) return std::nullopt;
  for (const std::string& name : *names) {
    if (!is_nbd_name(name)) continue;
    const auto own = read_file(fmt::format("{}/{}/dev", block_directory, name));
    if (own && *own == numbers) return "/dev/" + name;
  }
  return std::nullopt;
}

std::optional<dev_t> device_number(const std::string& path) {
  struct stat about {};
  if (stat(path.c_str(), &about) != 0 || !S_ISBLK(about.st_mode)) return std::nullopt;
  return about.st_rdev;
}

}  // namespace

std::optional<std::string> nbd_path(const SwapArea& area, std::optional<dev_t> device_number,
                                    const std::string& block_directory) {
  if (area.type != "partition") return std::nullopt;
  if (device_number && major(*device_number) != kNbdMajor) return std::nullopt;
  if (device_number) {
    if (auto path = find_device(*device_number, block_directory)) return path;
  }
  std::string_view name = area.path;
  constexpr std::string_view kDeleted = " (deleted)";
  if (name.ends_with(kDeleted)) name.remove_suffix(kDeleted.size());
  name.remove_prefix(name.rfind('/') + 1);
  if (!is_nbd_name(name)) return std::nullopt;
  return fmt::format("/dev/{}", name);
}

Result<std::vector<SwapArea>> read_nbd_swap_areas(const std::string& swaps,
                                                  const std::string& block_directory) {
  auto areas = read_swap_areas(swaps);
  if (!areas) return areas;
  for (SwapArea& area : *areas) {
    auto path = nbd_path(area, device_number(area.path), block_directory);
    if (path) area.path = *std::move(path);
  }
  return areas;
}

}  // namespace vramswap
