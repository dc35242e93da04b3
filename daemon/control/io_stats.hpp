// What a worker has served: counters and latencies, as they go from it to the supervisor and on to
// the client.
#pragma once

#include <chrono>
#include <cstdint>

#include "daemon/base/latency_histogram.hpp"

namespace vramswap::control {

// Requests that were answered without an error.
struct Transfers {
  std::uint64_t requests = 0;
  std::uint64_t pages = 0;
  // From the receive that brought a request to its reply having been sent.
  LatencyHistogram latency = {};

  void add(const Transfers& other);
  bool operator==(const Transfers&) const = default;
};

// They only grow, from the moment that the worker began. Read while it serves, so a batch may be in
// some of them and not yet in the others.
struct IoStats {
  // How long they have been counting, by the worker's clock at the moment they were read.
  std::chrono::nanoseconds counted_for{0};
  Transfers reads = {};
  Transfers writes = {};
  std::uint64_t trims = 0;  // TRIM and WRITE_ZEROES
  std::uint64_t trimmed_pages = 0;
  std::uint64_t errors = 0;            // requests answered with one, of any kind
  std::uint64_t batches = 0;           // that answered anything
  std::uint64_t batched_requests = 0;  // answered by them, with those that are not counted above
  std::uint64_t largest_batch = 0;     // requests

  // Of another thread, or of the same worker before it dozed; `counted_for` stays.
  void add(const IoStats& other);
  bool operator==(const IoStats&) const = default;
};

}  // namespace vramswap::control
