// How a request for swap becomes segments: a pure function of the request and the devices.
#pragma once

#include <cstdint>
#include <vector>

#include "daemon/base/error.hpp"
#include "daemon/control/protocol.hpp"
#include "daemon/handover/store_device_info.hpp"

namespace vramswap {

// The kernel has room for about 23 to 29 swap areas, for all users together. A pool that would need
// more segments than this gets larger ones instead.
inline constexpr std::uint64_t kMaxSegments = 16;

struct SegmentPlan {
  std::size_t device;  // index into the devices
  std::uint64_t size_bytes;
  int priority;
};

// In descending rank; segments of one rank, one on each device, have one priority. Sizes are
// multiples of the device's granularity and stay within what is free; `size` is rounded down.
Result<std::vector<SegmentPlan>> plan_pool(const control::UpRequest& request,
                                           const std::vector<StoreDeviceInfo>& devices);

}  // namespace vramswap
