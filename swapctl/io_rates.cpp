#include "swapctl/io_rates.hpp"

#include <algorithm>

namespace vramswap::swapctl {
namespace {

using control::IoStats;
using control::Transfers;

double per_second(std::uint64_t earlier, std::uint64_t later, std::chrono::nanoseconds interval) {
  return static_cast<double>(later - earlier) / std::chrono::duration<double>(interval).count();
}

TransferRates rates_between(const Transfers& earlier, const Transfers& later,
                            std::chrono::nanoseconds interval) {
  return {.requests_per_second = per_second(earlier.requests, later.requests, interval),
          .pages_per_second = per_second(earlier.pages, later.pages, interval),
          .latency = later.latency.since(earlier.latency)};
}

// Counters only grow, unless they are those of another worker with the same process number.
bool is_later(const IoStats& earlier, const IoStats& later) {
  const auto has_grown = [](const Transfers& before, const Transfers& after) {
    return before.requests <= after.requests && before.pages <= after.pages;
  };
  return earlier.counted_for < later.counted_for && has_grown(earlier.reads, later.reads) &&
         has_grown(earlier.writes, later.writes) && earlier.trims <= later.trims &&
         earlier.errors <= later.errors && earlier.batches <= later.batches &&
         earlier.batched_requests <= later.batched_requests;
}

}  // namespace

std::optional<IoRates> rates_between(const IoStats& earlier, const IoStats& later) {
  if (!is_later(earlier, later)) return std::nullopt;
  const auto interval = later.counted_for - earlier.counted_for;
  const std::uint64_t batches = later.batches - earlier.batches;
  const std::uint64_t requests = later.batched_requests - earlier.batched_requests;
  return IoRates{
      .interval = interval,
      .reads = rates_between(earlier.reads, later.reads, interval),
      .writes = rates_between(earlier.writes, later.writes, interval),
      .trims_per_second = per_second(earlier.trims, later.trims, interval),
      .requests_per_batch =
          batches == 0 ? 0 : static_cast<double>(requests) / static_cast<double>(batches),
      .errors = later.errors - earlier.errors};
}

Rates RateMeter::look(const control::Status& status) {
  Rates rates;
  for (const auto& worker : status.workers) {
    const auto last = last_.find(worker.pid);
    const bool is_known = worker.io && last != last_.end();
    rates.push_back(is_known ? rates_between(last->second, *worker.io) : std::nullopt);
    if (worker.io) last_[worker.pid] = *worker.io;
  }
  std::erase_if(last_, [&](const auto& entry) {
    return std::ranges::find(status.workers, entry.first, &control::WorkerStatus::pid) ==
           status.workers.end();
  });
  return rates;
}

}  // namespace vramswap::swapctl
