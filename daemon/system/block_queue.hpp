// The settings of a block device's queue in sysfs.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "daemon/base/error.hpp"

namespace vramswap {

// Sets the queue of `device_name` ("nbd3") for swap: no I/O scheduler and no writeback throttling
// (a hog's longest stall was 0.045 s instead of 0.7-1.1 s without them), no request longer than
// `max_request_bytes`, and `request_timeout` before a request without an answer is sent again. A
// setting that this kernel does not have is passed over.
// Requests are merged, also where an earlier user of the device has said nomerges=2: with it, a
// request is one page, and contrib/bench-guest --counted swaps 17,600 pages a second instead of
// 28,000 (6.12). Within 2 per cent of that, and so left as they are: max_sectors_kb of 128 to 1024,
// nomerges 1, nr_requests 32; so is mq-deadline. rq_affinity, which takes several CPUs to show: 0
// and 2 within the noise (10 %) of 1 with 4 CPUs.
Result<void> set_queue_for_swap(const std::string& device_name, std::uint64_t max_request_bytes,
                                std::chrono::milliseconds request_timeout,
                                const std::string& block_directory = "/sys/block");

// The block layer's own, for a driver that does not ask for another one, as nbd does not.
inline constexpr std::chrono::milliseconds kKernelRequestTimeout{30'000};

// The queue outlives its connections: whoever gets the device next, with a server that is now and
// then slow, would lose its sockets by set_queue_for_swap's short timeout.
Result<void> restore_request_timeout(const std::string& device_name,
                                     const std::string& block_directory = "/sys/block");

// What CONNECT left in /sys/block/nbdN/backend; empty if it is not connected or has none.
std::string read_backend_identifier(const std::string& device_name,
                                    const std::string& block_directory = "/sys/block");

}  // namespace vramswap
