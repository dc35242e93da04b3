#include "daemon/control/io_stats.hpp"

#include <algorithm>

namespace vramswap::control {

void Transfers::add(const Transfers& other) {
  requests += other.requests;
  pages += other.pages;
  latency.add(other.latency);
}

void IoStats::add(const IoStats& other) {
  reads.add(other.reads);
  writes.add(other.writes);
  trims += other.trims;
  trimmed_pages += other.trimmed_pages;
  errors += other.errors;
  batches += other.batches;
  batched_requests += other.batched_requests;
  largest_batch = std::max(largest_batch, other.largest_batch);
}

}  // namespace vramswap::control
