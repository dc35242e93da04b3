#include "daemon/supervisor/pool/pool_plan.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "daemon/base/rounding.hpp"
#include "daemon/control/headroom.hpp"

namespace vramswap {
namespace {

using control::format_bytes;

std::string describe(const StoreDeviceInfo& device) {
  return device.uuid.empty() ? device.name : fmt::format("{} ({})", device.name, device.uuid);
}

// What one of `device_count` devices is to give.
Result<std::uint64_t> share_of(const control::Size& size, const StoreDeviceInfo& device,
                               std::size_t device_count) {
  std::uint64_t wanted = 0;
  if (const auto* bytes = std::get_if<control::Bytes>(&size)) {
    wanted = bytes->value / device_count;
  } else if (const auto* percent = std::get_if<control::Percent>(&size)) {
    wanted =
        static_cast<std::uint64_t>(static_cast<double>(device.free_bytes) * (percent->value / 100));
  } else {
    wanted = device.free_bytes -
             std::min(device.free_bytes, control::headroom_bytes(device.drives_display));
  }
  const std::uint64_t share = round_down(wanted, device.granularity_bytes);
  if (wanted > device.free_bytes) {
    return fail(
        fmt::format("size {}: {} on {} is more than the {} free there (of {}); ask for less "
                    "or free some",
                    control::to_string(size), format_bytes(wanted), describe(device),
                    format_bytes(device.free_bytes), format_bytes(device.total_bytes)));
  }
  if (share == 0) {
    return fail(fmt::format("size {}: less than the smallest segment, {}, on {} ({} free)",
                            control::to_string(size), format_bytes(device.granularity_bytes),
                            describe(device), format_bytes(device.free_bytes)));
  }
  return share;
}

}  // namespace

Result<std::vector<SegmentPlan>> plan_pool(const control::UpRequest& request,
                                           const std::vector<StoreDeviceInfo>& devices) {
  struct Share {
    std::uint64_t left_bytes;
    std::uint64_t segment_bytes;
  };
  std::vector<Share> shares;
  const std::uint64_t max_segments = std::max<std::uint64_t>(1, kMaxSegments / devices.size());
  for (const StoreDeviceInfo& device : devices) {
    const auto share = share_of(request.size, device, devices.size());
    if (!share) return share.error();
    const std::uint64_t at_least = (*share + max_segments - 1) / max_segments;
    shares.push_back({*share, round_up(std::max(request.segment_size_bytes, at_least),
                                       device.granularity_bytes)});
  }
  std::vector<SegmentPlan> plan;
  for (int rank = 0;; ++rank) {
    const std::size_t before = plan.size();
    for (std::size_t device = 0; device < shares.size(); ++device) {
      Share& share = shares[device];
      const std::uint64_t bytes = std::min(share.left_bytes, share.segment_bytes);
      if (bytes == 0) continue;
      share.left_bytes -= bytes;
      const int priority = request.priority < 0 ? -1 : std::max(request.priority - rank, 0);
      plan.push_back({device, bytes, priority});
    }
    if (plan.size() == before) return plan;
  }
}

}  // namespace vramswap
