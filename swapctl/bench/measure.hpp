// The three tests: sequential like dd, random at depth 32 like fio, single reads like ioping.
#pragma once

#include <chrono>
#include <functional>
#include <span>
#include <string_view>

#include "daemon/base/error.hpp"
#include "swapctl/bench/direct_file.hpp"

namespace vramswap::swapctl {

// As dd bs=1M has it.
inline constexpr std::uint64_t kSequentialBytes = 1 << 20;
// Requests in flight of the random test, each by a thread of its own that waits in pread(2) or
// pwrite(2): the plainest thing that keeps so many at the device.
inline constexpr unsigned kRandomDepth = 32;

enum class Direction { read, write };

struct TestPlan {
  std::chrono::milliseconds duration = std::chrono::seconds(3);  // sequential and random, each
  unsigned single_reads = 10;
  std::chrono::milliseconds pause = std::chrono::seconds(1);  // between two single reads
};

// The way of a running test to the outside.
struct Observer {
  // Waits so long, perhaps not at all; an error of code EINTR: the test is to end.
  std::function<Result<void>(std::chrono::milliseconds)> wait;
  // `share` of the test is done, 0 to 1.
  std::function<void(std::string_view test, double share)> progress;
};

// In microseconds.
struct Latency {
  double min = 0;
  double average = 0;
  double max = 0;
  friend bool operator==(const Latency&, const Latency&) = default;
};
// Of at least one.
Latency summarize(std::span<const std::chrono::nanoseconds> times);

// Bytes a second, one request after another from the start, and over again until the time is over.
// Writing covers the whole file at least once.
Result<double> measure_sequential(const DirectFile& file, Direction direction, const TestPlan& plan,
                                  const Observer& observer);
// Requests of a page a second, kRandomDepth at a time.
Result<double> measure_random(const DirectFile& file, Direction direction, const TestPlan& plan,
                              const Observer& observer);
// Single pages with pauses in between: what one page fault waits on an idle device.
Result<Latency> measure_single_reads(const DirectFile& file, const TestPlan& plan,
                                     const Observer& observer);

}  // namespace vramswap::swapctl
