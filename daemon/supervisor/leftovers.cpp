#include "daemon/supervisor/leftovers.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "daemon/supervisor/nbd_device.hpp"
#include "daemon/system/block_queue.hpp"
#include "daemon/system/log.hpp"
#include "daemon/system/proc.hpp"

namespace vramswap {

Result<void> disconnect_leftovers(const std::string& block_directory,
                                  const std::string& swaps_path) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(block_directory, error)) {
    const std::string name = entry.path().filename();
    std::uint32_t index = 0;
    if (!name.starts_with("nbd")) continue;
    const char* end = name.data() + name.size();
    if (std::from_chars(name.data() + 3, end, index).ptr != end) continue;
    if (!read_backend_identifier(name, block_directory).starts_with(kBackendPrefix)) continue;
    const auto areas = read_swap_areas(swaps_path);
    if (!areas) return std::unexpected(areas.error());
    const std::string path = device_path(index);
    if (std::ranges::find(*areas, path, &SwapArea::path) != areas->end()) {
      return fail(fmt::format(
          "{} is swap of a vramswapd that has died; its worker serves on: swapoff {} by hand first",
          path, path));
    }
    auto nbd = netlink::NbdClient::open();
    if (!nbd) return fail(nbd.error().message());
    if (auto gone = disconnect_device(*nbd, index); !gone) return gone;
    log_info(fmt::format("{}: left by a vramswapd that has died; disconnected", path));
  }
  return {};
}

}  // namespace vramswap
