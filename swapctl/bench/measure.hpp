// The three tests: sequential like dd, random at depth 32 like fio, single reads like ioping.
#pragma once

#include <chrono>
#include <functional>
#include <span>
#include <string_view>

#include "daemon/base/error.hpp"
#include "swapctl/bench/direct_file.hpp"

namespace vramswap::swapctl {

// The block size of dd bs=1M.
inline constexpr std::uint64_t kSequentialBytes = 1 << 20;
// Requests in flight in the random test. Each has its own thread that waits in pread(2) or
// pwrite(2), which is the simplest way to keep so many at the device.
inline constexpr unsigned kRandomDepth = 32;

enum class Direction { read, write };

struct TestPlan {
  std::chrono::milliseconds duration = std::chrono::seconds(3);  // sequential and random, each
  unsigned single_reads = 10;
  std::chrono::milliseconds pause = std::chrono::seconds(1);  // between two single reads
};

// A running test calls these.
struct Observer {
  // Waits for this time, which may be 0. An error of code EINTR: the test must end.
  std::function<Result<void>(std::chrono::milliseconds)> wait;
  // Reports that `share` of the test is done, 0 to 1.
  std::function<void(std::string_view test, double share)> progress;
};

// In microseconds.
struct Latency {
  double min = 0;
  double average = 0;
  double max = 0;
  friend bool operator==(const Latency&, const Latency&) = default;
};
// `times` must not be empty.
Latency summarize(std::span<const std::chrono::nanoseconds> times);

// Returns bytes a second. Transfers one block after another from the start of the file, and starts
// again at its end, until the time is over. Writing covers the whole file at least once.
Result<double> measure_sequential(const DirectFile& file, Direction direction, const TestPlan& plan,
                                  const Observer& observer);
// Returns requests of a page a second, with kRandomDepth in flight.
Result<double> measure_random(const DirectFile& file, Direction direction, const TestPlan& plan,
                              const Observer& observer);
// Reads single pages with pauses in between: the latency of a page fault on an idle device.
Result<Latency> measure_single_reads(const DirectFile& file, const TestPlan& plan,
                                     const Observer& observer);

}  // namespace vramswap::swapctl
