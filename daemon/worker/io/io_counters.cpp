#include "daemon/worker/io/io_counters.hpp"

#include <algorithm>

namespace vramswap {

void IoCounters::count_replies(std::span<const Answered> answered, Clock::time_point now) {
  for (const Answered& one : answered) count(one, now);
}

void IoCounters::count_batch(std::size_t requests) {
  batches_.add(1);
  batched_requests_.add(requests);
  largest_batch_.raise_to(requests);
}

void IoCounters::count(const Answered& answered, Clock::time_point now) {
  const auto& request = answered.request;
  const std::uint64_t pages = request.length / kPageBytes;
  if (answered.error != 0) {
    errors_.add(1);
  } else if (request.command == NBD_CMD_READ) {
    reads_.count(pages, now - request.received_at);
  } else if (request.command == NBD_CMD_WRITE) {
    writes_.count(pages, now - request.received_at);
  } else if (request.command != NBD_CMD_FLUSH) {
    trims_.add(1);
    trimmed_pages_.add(pages);
  }
}

void IoCounters::Direction::count(std::uint64_t page_count, std::chrono::nanoseconds latency) {
  requests.add(1);
  pages.add(page_count);
  max_ns.raise_to(static_cast<std::uint64_t>(std::max<std::int64_t>(latency.count(), 0)));
  buckets[LatencyHistogram::bucket_of(latency)].add(1);
}

control::Transfers IoCounters::Direction::read() const {
  control::Transfers transfers{.requests = requests.get(), .pages = pages.get(), .latency = {}};
  for (std::size_t bucket = 0; bucket < buckets.size(); ++bucket) {
    if (const auto count = buckets[bucket].get(); count != 0) transfers.latency.add(bucket, count);
  }
  transfers.latency.raise_max(std::chrono::nanoseconds(max_ns.get()));
  return transfers;
}

control::IoStats IoCounters::read() const {
  return {.counted_for = {},
          .reads = reads_.read(),
          .writes = writes_.read(),
          .trims = trims_.get(),
          .trimmed_pages = trimmed_pages_.get(),
          .errors = errors_.get(),
          .batches = batches_.get(),
          .batched_requests = batched_requests_.get(),
          .largest_batch = largest_batch_.get()};
}

}  // namespace vramswap
