#include "tests/load/load_generator.hpp"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <bit>
#include <semaphore>
#include <thread>

namespace vramswap::load {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint32_t kPageBytes = sizeof(Page);
constexpr std::ptrdiff_t kMaxDepth = 1024;

void set_timeout(int socket, std::chrono::seconds timeout) {
  const timeval value{timeout.count(), 0};
  setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &value, sizeof value);
  setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &value, sizeof value);
}

std::uint32_t random_page_count(std::mt19937_64& random, PageRange range) {
  const auto steps = std::bit_width(range.max) - std::bit_width(range.min) + 1;
  return std::min(range.max, range.min << random() % static_cast<unsigned>(steps));
}

bool has_chance(std::mt19937_64& random, double share) {
  return std::uniform_real_distribution<>()(random) < share;
}

double per_second(std::uint64_t count, std::chrono::nanoseconds elapsed) {
  return static_cast<double>(count) / std::chrono::duration<double>(elapsed).count();
}

}  // namespace

void LoadResult::add(const LoadResult& other) {
  operations += other.operations;
  read_bytes += other.read_bytes;
  written_bytes += other.written_bytes;
  wrong_words += other.wrong_words;
  failed_replies += other.failed_replies;
  ended_connections += other.ended_connections;
  elapsed = std::max(elapsed, other.elapsed);
  latency.add(other.latency);
  first_reply = std::min(first_reply, other.first_reply);
}

std::string LoadResult::summary() const {
  const auto microseconds = [](std::chrono::nanoseconds value) {
    return std::chrono::duration<double, std::micro>(value).count();
  };
  return fmt::format(
      "{:.0f} op/s, {:.2f} GB/s read, {:.2f} GB/s written, p50 {:.1f} us, p99 {:.1f} us, max "
      "{:.0f} "
      "us, {} wrong words, {} failed replies, {} ended connections",
      per_second(operations, elapsed), per_second(read_bytes, elapsed) / 1e9,
      per_second(written_bytes, elapsed) / 1e9, microseconds(latency.percentile(0.5)),
      microseconds(latency.percentile(0.99)), microseconds(latency.max()), wrong_words,
      failed_replies, ended_connections);
}

// A sender and a receiver for one socket, as the kernel has submitters and a receive worker.
class LoadGenerator::Connection {
 public:
  Connection(LoadGenerator& generator, int socket, std::uint64_t seed, const Source& source)
      : generator_(generator),
        source_(source),
        socket_(socket),
        random_(seed),
        slots_(generator.options_.depth),
        free_slots_(generator.options_.depth) {
    set_timeout(socket, generator.options_.reply_timeout);
    sender_ = std::thread([this] { send_requests(); });
    receiver_ = std::thread([this] { receive_replies(); });
  }

  LoadResult finish() {
    sender_.join();
    receiver_.join();
    const std::scoped_lock lock(generator_.unanswered_mutex_);
    for (const Slot& slot : slots_) {
      if (slot.used) generator_.unanswered_.push_back(slot.operation);
    }
    result_.ended_connections = ended_ ? 1 : 0;
    return result_;
  }

 private:
  struct Slot {
    Operation operation;
    Clock::time_point sent;
    std::atomic<bool> used = false;
  };

  void send_requests() {
    for (;;) {
      free_slots_.acquire();
      if (ended_) break;
      const auto operation = generator_.next_operation(random_, source_);
      if (!operation) break;
      std::uint64_t cookie = 0;
      while (slots_[cookie].used) ++cookie;
      slots_[cookie].operation = *operation;
      slots_[cookie].sent = Clock::now();
      slots_[cookie].used = true;
      ++in_flight_;
      expected_replies_.release();
      if (!send(cookie, *operation)) {
        end();
        break;
      }
    }
    sender_done_ = true;
    expected_replies_.release();
  }

  bool send(std::uint64_t cookie, const Operation& operation) {
    if (!send_header(socket_, {.command = operation.command,
                               .cookie = cookie,
                               .offset = operation.first_page * kPageBytes,
                               .length = operation.page_count * kPageBytes})) {
      return false;
    }
    if (operation.command != Command::write) return true;
    for (std::uint32_t i = 0; i < operation.page_count; ++i) {
      fill(sent_page_, generator_.first_page_ + operation.first_page + i, operation.version);
      if (!send_page(socket_, sent_page_, i + 1 < operation.page_count)) return false;
    }
    return true;
  }

  void receive_replies() {
    for (;;) {
      expected_replies_.acquire();
      if (sender_done_ && in_flight_ == 0) return;
      if (!receive()) return end();
    }
  }

  bool receive() {
    const auto reply = receive_reply(socket_);
    if (!reply || reply->cookie >= slots_.size() || !slots_[reply->cookie].used) return false;
    Slot& slot = slots_[reply->cookie];
    const Operation operation = slot.operation;
    if (reply->error != 0) {
      ++result_.failed_replies;
    } else if (operation.command == Command::read) {
      if (!check_pages(operation)) return false;
    } else {
      note(operation);
    }
    const auto now = Clock::now();
    result_.first_reply = std::min(result_.first_reply, now);
    result_.latency.record(now - slot.sent);
    ++result_.operations;
    generator_.release(operation.first_page, operation.page_count);
    slot.used = false;
    --in_flight_;
    free_slots_.release();
    return true;
  }

  bool check_pages(const Operation& operation) {
    for (std::uint64_t page = operation.first_page;
         page < operation.first_page + operation.page_count; ++page) {
      if (!receive_page(socket_, received_page_)) return false;
      result_.wrong_words += count_wrong_words(received_page_, generator_.first_page_ + page,
                                               generator_.versions_[page]);
    }
    result_.read_bytes += operation.page_count * kPageBytes;
    return true;
  }

  void note(const Operation& operation) {
    std::fill_n(generator_.versions_.begin() + static_cast<std::ptrdiff_t>(operation.first_page),
                operation.page_count, operation.version);
    if (operation.command == Command::write) {
      result_.written_bytes += operation.page_count * kPageBytes;
    }
  }

  // Both threads come here; whichever still waits is woken.
  void end() {
    if (ended_.exchange(true)) return;
    --generator_.live_connections_;
    shutdown(socket_, SHUT_RDWR);
    free_slots_.release();
  }

  LoadGenerator& generator_;
  const Source& source_;
  const int socket_;
  std::mt19937_64 random_;
  std::vector<Slot> slots_;
  std::counting_semaphore<kMaxDepth + 1> free_slots_;
  std::counting_semaphore<kMaxDepth + 1> expected_replies_{0};
  std::atomic<unsigned> in_flight_ = 0;
  std::atomic<bool> sender_done_ = false;
  std::atomic<bool> ended_ = false;
  Page sent_page_;
  Page received_page_;
  LoadResult result_;
  std::thread sender_;
  std::thread receiver_;
};

LoadGenerator::LoadGenerator(std::uint32_t segment, std::uint64_t size_bytes, LoadOptions options)
    : first_page_(static_cast<std::uint64_t>(segment) << 24),
      page_count_(size_bytes / kPageBytes),
      options_(options),
      claimed_(std::make_unique<std::atomic<bool>[]>(page_count_)),
      versions_(page_count_) {}

LoadGenerator::~LoadGenerator() = default;

LoadResult LoadGenerator::run(std::span<const int> sockets, std::chrono::milliseconds duration) {
  stopped_ = false;
  const auto end = Clock::now() + duration;
  return run_connections(sockets, [this, end](std::mt19937_64& random) -> std::optional<Operation> {
    if (stopped_ || Clock::now() >= end) return std::nullopt;
    return random_operation(random);
  });
}

LoadResult LoadGenerator::verify(std::span<const int> sockets) {
  constexpr std::uint64_t kPagesAtOnce = 64;
  std::atomic<std::uint64_t> next = 0;
  return run_connections(sockets, [&](std::mt19937_64&) -> std::optional<Operation> {
    const std::uint64_t first = next.fetch_add(kPagesAtOnce);
    if (first >= page_count_) return std::nullopt;
    const auto count = static_cast<std::uint32_t>(std::min(kPagesAtOnce, page_count_ - first));
    // What was sent again may still be in flight there; on a connection that has ended, for ever.
    while (!claim(first, count)) {
      if (live_connections_ < sockets.size()) return std::nullopt;
      std::this_thread::yield();
    }
    return Operation{Command::read, first, count, 0};
  });
}

LoadResult LoadGenerator::run_connections(std::span<const int> sockets, const Source& source) {
  const auto start = Clock::now();
  live_connections_ = static_cast<unsigned>(sockets.size());
  std::vector<std::unique_ptr<Connection>> connections;
  for (const int socket : sockets) {
    const auto seed = options_.seed * 1000 + first_page_ + seeds_given_++;
    connections.push_back(std::make_unique<Connection>(*this, socket, seed, source));
  }
  LoadResult result;
  for (const auto& connection : connections) result.add(connection->finish());
  result.elapsed = Clock::now() - start;
  return result;
}

std::optional<LoadGenerator::Operation> LoadGenerator::next_operation(std::mt19937_64& random,
                                                                      const Source& source) {
  {
    const std::scoped_lock lock(unanswered_mutex_);
    if (!unanswered_.empty()) {
      const Operation operation = unanswered_.back();
      unanswered_.pop_back();
      return operation;
    }
  }
  return source(random);
}

std::optional<LoadGenerator::Operation> LoadGenerator::random_operation(std::mt19937_64& random) {
  const bool discards = has_chance(random, options_.discard_share);
  const bool writes = discards || has_chance(random, options_.write_share);
  while (!stopped_ && live_connections_ > 0) {
    const auto count =
        random_page_count(random, writes ? options_.write_pages : options_.read_pages);
    const std::uint64_t first = random() % (page_count_ - count + 1);
    if (!claim(first, count)) {
      std::this_thread::yield();
      continue;
    }
    if (discards) {
      return Operation{random() % 2 ? Command::trim : Command::write_zeroes, first, count, 0};
    }
    if (writes) return Operation{Command::write, first, count, ++last_version_};
    return Operation{Command::read, first, count, 0};
  }
  return std::nullopt;
}

bool LoadGenerator::claim(std::uint64_t first_page, std::uint32_t page_count) {
  for (std::uint32_t i = 0; i < page_count; ++i) {
    if (claimed_[first_page + i].exchange(true, std::memory_order_acquire)) {
      release(first_page, i);
      return false;
    }
  }
  return true;
}

void LoadGenerator::release(std::uint64_t first_page, std::uint32_t page_count) {
  for (std::uint32_t i = 0; i < page_count; ++i) {
    claimed_[first_page + i].store(false, std::memory_order_release);
  }
}

}  // namespace vramswap::load
