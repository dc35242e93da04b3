// A load in the kernel's place: random requests over the sockets of one segment, and every byte
// that comes back is compared with the right one. No two requests in flight overlap, as the kernel
// guarantees for a swap area, so each page has exactly one right content at any time.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "daemon/base/latency_histogram.hpp"
#include "tests/support/kernel_peer.hpp"

namespace vramswap::load {

struct PageRange {
  std::uint32_t min = 1;
  std::uint32_t max = 256;
};

struct LoadOptions {
  unsigned depth = 16;  // requests in flight on each connection, 1..1024
  // Pages a request: powers of two between the two, each as often as the others.
  PageRange read_pages{};
  PageRange write_pages{};
  double write_share = 0.5;
  double discard_share = 0;  // TRIM and WRITE_ZEROES, in turn
  std::uint64_t seed = 1;
  // A connection that answers nothing for so long counts as ended.
  std::chrono::seconds reply_timeout{30};
  // A connection's requests are sent and its replies received by one thread, which costs less than
  // two that wake each other. Only for a load whose sends cannot wait for its own receives: READs
  // alone (28 bytes each) or WRITEs alone (answered by 16), with a depth whose headers fit the
  // socket's buffers, up to 128. Both kinds together, in flight, must fit with their payloads.
  bool one_thread = false;
};

struct LoadResult {
  std::uint64_t operations = 0;
  std::uint64_t read_bytes = 0;
  std::uint64_t written_bytes = 0;
  std::uint64_t wrong_words = 0;
  std::uint64_t failed_replies = 0;  // answered with an error
  std::uint64_t ended_connections = 0;
  std::chrono::nanoseconds elapsed{0};
  std::chrono::nanoseconds cpu_time{0};  // of the threads that made the load
  LatencyHistogram read_latency;
  LatencyHistogram write_latency;  // and of TRIM and WRITE_ZEROES
  std::chrono::steady_clock::time_point first_reply = std::chrono::steady_clock::time_point::max();

  // Of a load that ran at the same time: the longer `elapsed` counts.
  void add(const LoadResult& other);
  // "12345 op/s, 1.23 GB/s read, 0.99 GB/s written, reads p50 12.0 us, p99 30.1 us, max 90 us,
  // writes p50 ..., 0 wrong words, ..."
  std::string summary() const;
};

class LoadGenerator {
 public:
  // `segment` tells the patterns of several generators apart.
  LoadGenerator(std::uint32_t segment, std::uint64_t size_bytes, LoadOptions options = {});
  ~LoadGenerator();

  // The options from the next run on. The content of the pages is remembered.
  void set_options(LoadOptions options) { options_ = options; }

  // Writes every page once, so that no READ after it is of a page that was never written.
  LoadResult write_all(std::span<const int> sockets);
  // Loads all sockets at once and returns when the time is over and everything in flight has been
  // answered, or when all connections have ended. The next run or verify sends the unanswered
  // requests of an ended connection again, as the kernel does after RECONFIGURE.
  LoadResult run(std::span<const int> sockets, std::chrono::milliseconds duration);
  // Reads every page once.
  LoadResult verify(std::span<const int> sockets);
  // From any thread: `run` ends as if its time were over.
  void stop() { stopped_ = true; }

 private:
  struct Operation {
    Command command;
    std::uint64_t first_page;
    std::uint32_t page_count;
    std::uint32_t version;  // the pages' content once a WRITE, TRIM or WRITE_ZEROES is answered
  };
  using Clock = std::chrono::steady_clock;
  class Connection;
  using Source = std::function<std::optional<Operation>(std::mt19937_64&, Clock::time_point now)>;

  LoadResult run_connections(std::span<const int> sockets, bool one_thread, const Source& source);
  LoadResult pass_over_all(std::span<const int> sockets, Command command,
                           std::uint64_t pages_at_once);
  std::optional<Operation> next_operation(std::mt19937_64& random, Clock::time_point now,
                                          const Source& source);
  std::optional<Operation> take_unanswered();
  std::optional<Operation> random_operation(std::mt19937_64& random);
  bool claim(std::uint64_t first_page, std::uint32_t page_count);
  // False: the pages stay claimed, because one of the connections that claimed them has ended.
  bool claim_when_free(std::uint64_t first_page, std::uint32_t page_count, std::size_t connections);
  void release(std::uint64_t first_page, std::uint32_t page_count);

  const std::uint64_t first_page_;  // of the segment, among all pages of a test
  const std::uint64_t page_count_;
  LoadOptions options_;
  std::uint64_t seeds_given_ = 0;  // so that no run repeats another
  // For each page: whether a request in flight covers it, and its content. A thread that has
  // claimed a page may use its version.
  std::unique_ptr<std::atomic<bool>[]> claimed_;
  std::vector<std::uint32_t> versions_;
  std::atomic<std::uint32_t> last_version_ = 0;
  std::atomic<bool> stopped_ = false;
  std::atomic<unsigned> live_connections_ = 0;
  std::mutex unanswered_mutex_;
  std::vector<Operation> unanswered_;
  std::atomic<std::size_t> unanswered_count_ = 0;  // its size, for reading without the lock
};

}  // namespace vramswap::load
