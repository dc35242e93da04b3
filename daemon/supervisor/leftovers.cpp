#include "daemon/supervisor/leftovers.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <filesystem>

#include "daemon/supervisor/nbd_device.hpp"
#include "daemon/system/block_queue.hpp"
#include "daemon/system/log.hpp"
#include "daemon/system/proc.hpp"

namespace vramswap {

std::vector<NbdDevice> find_our_devices(Purpose purpose, const std::string& block_directory) {
  std::vector<NbdDevice> devices;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(block_directory, error)) {
    const std::string name = entry.path().filename();
    if (!name.starts_with("nbd")) continue;
    NbdDevice device{};
    const char* end = name.data() + name.size();
    if (std::from_chars(name.data() + 3, end, device.index).ptr != end) continue;
    device.identifier = read_backend_identifier(name, block_directory);
    if (device.identifier.starts_with(device_prefix(purpose))) devices.push_back(std::move(device));
  }
  return devices;
}

Result<void> disconnect_leftovers(Purpose purpose, const std::string& adopted,
                                  const std::string& block_directory,
                                  const std::string& swaps_path) {
  for (const NbdDevice& device : find_our_devices(purpose, block_directory)) {
    if (!adopted.empty() && device.identifier.starts_with(adopted)) continue;
    const auto areas = read_swap_areas(swaps_path);
    if (!areas) return areas.error();
    const std::string path = device_path(device.index);
    if (std::ranges::find(*areas, path, &SwapArea::path) != areas->end()) {
      return std::unexpected(
          Error{fmt::format("{} is swap of a vramswapd that has died together with its worker, and "
                            "its pages are lost: swapoff {} by hand",
                            path, path),
                EOWNERDEAD});
    }
    auto nbd = netlink::NbdClient::open();
    if (!nbd) return fail(nbd.error().message());
    if (auto gone = disconnect_device(*nbd, device.index); !gone) return gone;
    log_info(fmt::format("{}: left by a vramswapd that has died; disconnected", path));
  }
  return {};
}

}  // namespace vramswap
