// Counters of what an I/O thread has served. Only that thread writes them; any thread reads them.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>

#include "daemon/control/io_stats.hpp"
#include "daemon/worker/io/transmission.hpp"

namespace vramswap {

// On its own cache lines, so that writes by other threads do not slow this one down, and its writes
// do not slow them down.
class alignas(64) IoCounters {
 public:
  using Clock = std::chrono::steady_clock;

  struct Answered {
    transmission::Request request;
    std::uint32_t error;  // as in its reply
  };

  // The I/O thread calls this when the replies have been sent. It costs a few loads and stores per
  // reply.
  void count_replies(std::span<const Answered> answered, Clock::time_point now = Clock::now());
  // The I/O thread calls this after a batch of `requests` requests.
  void count_batch(std::size_t requests);

  // Any thread may call this. The caller sets `counted_for`.
  control::IoStats read() const;

 private:
  // Only one thread writes it, so a plain load and store are enough, without a locked instruction.
  class Counter {
   public:
    void add(std::uint64_t more) { set(get() + more); }
    void raise_to(std::uint64_t least) {
      if (get() < least) set(least);
    }
    std::uint64_t get() const { return value_.load(std::memory_order_relaxed); }

   private:
    void set(std::uint64_t value) { value_.store(value, std::memory_order_relaxed); }
    std::atomic<std::uint64_t> value_ = 0;
  };
  struct Direction {
    Counter requests;
    Counter pages;
    Counter max_ns;
    std::array<Counter, LatencyHistogram::kBuckets> buckets;

    void count(std::uint64_t page_count, std::chrono::nanoseconds latency);
    control::Transfers read() const;
  };

  void count(const Answered& answered, Clock::time_point now);

  Direction reads_;
  Direction writes_;
  Counter trims_;
  Counter trimmed_pages_;
  Counter errors_;
  Counter batches_;
  Counter batched_requests_;
  Counter largest_batch_;
};

}  // namespace vramswap
