// What an I/O thread has served, counted by that thread alone and read by any other.
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

// On cache lines of its own: nobody else's writes slow the thread down, nor its writes others.
class alignas(64) IoCounters {
 public:
  using Clock = std::chrono::steady_clock;

  struct Answered {
    transmission::Request request;
    std::uint32_t error;  // as in its reply
  };

  // By the thread: these replies have been sent by now. A few loads and stores for each.
  void count_replies(std::span<const Answered> answered, Clock::time_point now = Clock::now());
  // So many requests were one batch.
  void count_batch(std::size_t requests);

  // By anyone. `counted_for` is left to the caller.
  control::IoStats read() const;

 private:
  // One thread writes it, so a load and a store do, and the bus is never locked.
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
