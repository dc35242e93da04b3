// The statistics of a worker: counters and latencies. The worker sends them to the supervisor, the
// supervisor to the client.
#pragma once

#include <chrono>
#include <cstdint>

#include "daemon/base/latency_histogram.hpp"

namespace vramswap::control {

// Requests that were answered without an error.
struct Transfers {
  std::uint64_t requests = 0;
  std::uint64_t pages = 0;
  // From receiving a request to sending its reply.
  LatencyHistogram latency = {};

  void add(const Transfers& other);
  bool operator==(const Transfers&) const = default;
};

// Counters start with the worker and only grow. They are read while the worker serves, so a batch
// may be in some of them and not yet in others.
struct IoStats {
  // From the worker's start to the moment when the counters were read, by the worker's clock.
  std::chrono::nanoseconds counted_for{0};
  Transfers reads = {};
  Transfers writes = {};
  std::uint64_t trims = 0;  // TRIM and WRITE_ZEROES
  std::uint64_t trimmed_pages = 0;
  std::uint64_t errors = 0;            // requests of any kind that were answered with an error
  std::uint64_t batches = 0;           // that answered at least one request
  std::uint64_t batched_requests = 0;  // that batches answered; some are not counted above
  std::uint64_t largest_batch = 0;     // the number of its requests

  // Adds the counters of another thread, or of the same worker before it dozed. Leaves
  // `counted_for` as it is.
  void add(const IoStats& other);
  bool operator==(const IoStats&) const = default;
};

}  // namespace vramswap::control
