// The rates of workers: the difference between two samples of their statistics.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "daemon/control/protocol.hpp"

namespace vramswap::swapctl {

struct TransferRates {
  double requests_per_second = 0;
  double pages_per_second = 0;
  LatencyHistogram latency = {};  // of the requests in the interval
};

struct IoRates {
  std::chrono::nanoseconds interval{0};  // between the samples, by the worker's clock
  TransferRates reads = {};
  TransferRates writes = {};
  double trims_per_second = 0;
  double requests_per_batch = 0;  // 0: there was no batch
  std::uint64_t errors = 0;       // the number in the interval
};

// No value: `later` is not a later sample of the same worker.
std::optional<IoRates> rates_between(const control::IoStats& earlier,
                                     const control::IoStats& later);

// One for each worker, in the order of Status::workers.
using Rates = std::vector<std::optional<IoRates>>;

class RateMeter {
 public:
  // The rates since the previous status that had statistics of the worker. No value for a worker
  // without statistics in `status`, or in all statuses before.
  Rates look(const control::Status& status);

 private:
  std::map<int, control::IoStats> last_;  // by process id
};

}  // namespace vramswap::swapctl
