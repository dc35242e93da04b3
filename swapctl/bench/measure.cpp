#include "swapctl/bench/measure.hpp"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <numeric>
#include <random>
#include <thread>
#include <vector>

namespace vramswap::swapctl {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// How often a test reports, and checks whether it must end.
constexpr milliseconds kReportInterval{100};

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double share_of(Clock::time_point start, milliseconds duration) {
  return std::min(1.0, seconds_since(start) / std::chrono::duration<double>(duration).count());
}

Result<void> transfer(const DirectFile& file, Direction direction, std::span<std::byte> bytes,
                      std::uint64_t offset) {
  return direction == Direction::read ? file.read(bytes, offset) : file.write(bytes, offset);
}

// The same pages in every run.
class RandomPages {
 public:
  RandomPages(const DirectFile& file, unsigned seed)
      : random_(seed), page_(0, file.size_bytes() / kPageBytes - 1) {}
  std::uint64_t next_offset() { return page_(random_) * kPageBytes; }

 private:
  std::mt19937_64 random_;
  std::uniform_int_distribution<std::uint64_t> page_;
};

// Threads that keep one request each at the device, from construction until they are told to end.
class RandomLoad {
 public:
  RandomLoad(const DirectFile& file, Direction direction) {
    for (unsigned i = 0; i < kRandomDepth; ++i) {
      threads_.emplace_back([this, &file, direction, i] { run(file, direction, i); });
    }
  }
  RandomLoad(const RandomLoad&) = delete;
  ~RandomLoad() { (void)finish(); }

  bool is_ending() const { return is_ending_; }

  // Waits for the last requests. Returns the number of all requests.
  Result<std::uint64_t> finish() {
    is_ending_ = true;
    for (auto& thread : threads_) {
      if (thread.joinable()) thread.join();
    }
    if (!result_) return result_.error();
    return requests_.load();
  }

 private:
  void run(const DirectFile& file, Direction direction, unsigned seed) {
    const PageBuffer page(kPageBytes);
    RandomPages pages(file, seed);
    std::uint64_t requests = 0;
    // At least one, or a busy machine could end the test before its first request.
    do {
      if (auto done = transfer(file, direction, page.bytes(), pages.next_offset()); !done) {
        const std::lock_guard lock(mutex_);
        if (result_) result_ = std::move(done);
        is_ending_ = true;
        break;
      }
      ++requests;
    } while (!is_ending_);
    requests_ += requests;
  }

  std::atomic<bool> is_ending_ = false;
  std::atomic<std::uint64_t> requests_ = 0;
  std::mutex mutex_;  // of result_
  Result<void> result_;
  std::vector<std::thread> threads_;
};

}  // namespace

Latency summarize(std::span<const std::chrono::nanoseconds> times) {
  const auto microseconds = [](std::chrono::nanoseconds time) {
    return std::chrono::duration<double, std::micro>(time).count();
  };
  const auto [min, max] = std::ranges::minmax(times);
  const auto sum = std::accumulate(times.begin(), times.end(), std::chrono::nanoseconds(0));
  return {.min = microseconds(min),
          .average = microseconds(sum) / static_cast<double>(times.size()),
          .max = microseconds(max)};
}

Result<double> measure_sequential(const DirectFile& file, Direction direction, const TestPlan& plan,
                                  const Observer& observer) {
  const char* name = direction == Direction::read ? "sequential read" : "sequential write";
  const PageBuffer block(std::min(kSequentialBytes, file.size_bytes()));
  const auto start = Clock::now();
  auto next_report = start;
  std::uint64_t total = 0;
  bool is_covered = direction == Direction::read;
  for (std::uint64_t offset = 0; !is_covered || Clock::now() - start < plan.duration;) {
    const auto bytes = block.bytes().first(
        std::min<std::uint64_t>(block.bytes().size(), file.size_bytes() - offset));
    if (auto done = transfer(file, direction, bytes, offset); !done) {
      return done.error();
    }
    total += bytes.size();
    offset += bytes.size();
    if (offset == file.size_bytes()) {
      offset = 0;
      is_covered = true;
    }
    if (Clock::now() < next_report) continue;
    next_report = Clock::now() + kReportInterval;
    observer.progress(name, share_of(start, plan.duration));
    if (auto waited = observer.wait(milliseconds(0)); !waited) {
      return waited.error();
    }
  }
  return static_cast<double>(total) / seconds_since(start);
}

Result<double> measure_random(const DirectFile& file, Direction direction, const TestPlan& plan,
                              const Observer& observer) {
  const char* name = direction == Direction::read ? "random read" : "random write";
  observer.progress(name, 0);
  const auto start = Clock::now();
  RandomLoad load(file, direction);
  while (!load.is_ending() && Clock::now() - start < plan.duration) {
    observer.progress(name, share_of(start, plan.duration));
    if (auto waited = observer.wait(std::min(kReportInterval, plan.duration)); !waited) {
      return waited.error();
    }
  }
  const auto requests = load.finish();
  if (!requests) return requests.error();
  return static_cast<double>(*requests) / seconds_since(start);
}

Result<Latency> measure_single_reads(const DirectFile& file, const TestPlan& plan,
                                     const Observer& observer) {
  const PageBuffer page(kPageBytes);
  RandomPages pages(file, kRandomDepth);
  std::vector<std::chrono::nanoseconds> times;
  while (times.size() < plan.single_reads) {
    observer.progress("single reads",
                      static_cast<double>(times.size()) / static_cast<double>(plan.single_reads));
    // Before the first one, too: the tests before this one have left the device awake.
    if (auto waited = observer.wait(plan.pause); !waited) return waited.error();
    const std::uint64_t offset = pages.next_offset();
    const auto start = Clock::now();
    if (auto done = file.read(page.bytes(), offset); !done) return done.error();
    times.push_back(Clock::now() - start);
  }
  return summarize(times);
}

}  // namespace vramswap::swapctl
