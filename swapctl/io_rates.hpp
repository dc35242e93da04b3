// What workers do at the moment: the difference of two looks at their stats.
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
  LatencyHistogram latency = {};  // of those requests
};

struct IoRates {
  std::chrono::nanoseconds interval{0};  // between the looks, by the worker's clock
  TransferRates reads = {};
  TransferRates writes = {};
  double trims_per_second = 0;
  double requests_per_batch = 0;  // 0: there was no batch
  std::uint64_t errors = 0;       // in all of the interval
};

// Nothing where `later` is not a later look at the same worker.
std::optional<IoRates> rates_between(const control::IoStats& earlier,
                                     const control::IoStats& later);

// By worker, in the order of Status::workers.
using Rates = std::vector<std::optional<IoRates>>;

class RateMeter {
 public:
  // Since the last look at which a worker told its stats; nothing for one that tells none now, or
  // had told none.
  Rates look(const control::Status& status);

 private:
  std::map<int, control::IoStats> last_;  // by process
};

}  // namespace vramswap::swapctl
