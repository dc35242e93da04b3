// The settings of a block device's queue in sysfs.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "daemon/base/error.hpp"

namespace vramswap {

// Sets the queue of `device_name` ("nbd3") for swap: no I/O scheduler and no writeback throttling
// (a hog's longest stall was 0.045 s instead of 0.7-1.1 s without them), no request longer than
// `max_request_bytes`, and `request_timeout`, after which the kernel resends a request that got no
// reply. Skips a setting that this kernel does not have. Returns the limit of a request in bytes.
// Also lets the kernel merge requests, in case an earlier user of the device had set nomerges=2:
// with that, a request is one page, and contrib/bench-guest --counted swaps 17,600 pages a second
// instead of 28,000 (6.12). Other settings stay as they are, because they change the result by less
// than 2 per cent: max_sectors_kb of 128 to 1024, nomerges 1, nr_requests 32, mq-deadline.
// rq_affinity has an effect only with several CPUs: with 4, the values 0 and 2 are within the noise
// (10 %) of 1.
Result<std::uint64_t> set_queue_for_swap(const std::string& device_name,
                                         std::uint64_t max_request_bytes,
                                         std::chrono::milliseconds request_timeout,
                                         const std::string& block_directory = "/sys/block");

// From now on a request has at most `max_request_bytes`, at least a page. With one page the kernel
// also merges nothing. What is queued already stays as it is.
Result<void> set_request_limit(const std::string& device_name, std::uint64_t max_request_bytes,
                               const std::string& block_directory = "/sys/block");

// The block layer's default. It applies to nbd, which does not set a timeout of its own.
inline constexpr std::chrono::milliseconds kKernelRequestTimeout{30'000};

// Sets the timeout back to the default. The queue outlives its connections: with the short timeout
// of set_queue_for_swap(), the next user of the device would lose its sockets if its server is slow
// now and then.
Result<void> restore_request_timeout(const std::string& device_name,
                                     const std::string& block_directory = "/sys/block");

// The identifier that CONNECT set, from /sys/block/nbdN/backend. Empty: the device is not
// connected, or has no identifier.
std::string read_backend_identifier(const std::string& device_name,
                                    const std::string& block_directory = "/sys/block");

// Whether an nbd device is connected, or disconnected but open still: CONNECT would be refused.
bool is_nbd_in_use(const std::string& device_name,
                   const std::string& block_directory = "/sys/block");

}  // namespace vramswap
