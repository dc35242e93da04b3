#include "tests/load/load_generator.hpp"

#include <fmt/format.h>
#include <semaphore.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <bit>
#include <ctime>
#include <numeric>
#include <thread>

#include "daemon/base/page_size.hpp"

namespace vramswap::load {
namespace {

// std::counting_semaphore of GCC 12 makes a system call at every release; this one only if a
// thread waits.
class Semaphore {
 public:
  explicit Semaphore(unsigned count) { sem_init(&semaphore_, 0, count); }
  Semaphore(const Semaphore&) = delete;
  ~Semaphore() { sem_destroy(&semaphore_); }

  void acquire() {
    while (sem_wait(&semaphore_) != 0) {
    }
  }
  void release() { sem_post(&semaphore_); }

 private:
  sem_t semaphore_;
};

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
  if (share <= 0 || share >= 1) return share > 0;
  return std::uniform_real_distribution<>()(random) < share;
}

double per_second(std::uint64_t count, std::chrono::nanoseconds elapsed) {
  return static_cast<double>(count) / std::chrono::duration<double>(elapsed).count();
}

std::chrono::nanoseconds thread_cpu_time() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

std::string percentiles(const char* what, const LatencyHistogram& latency) {
  const auto microseconds = [](std::chrono::nanoseconds value) {
    return std::chrono::duration<double, std::micro>(value).count();
  };
  return fmt::format("{} p50 {:.1f} us, p99 {:.1f} us, max {:.0f} us", what,
                     microseconds(latency.percentile(0.5)), microseconds(latency.percentile(0.99)),
                     microseconds(latency.max()));
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
  cpu_time += other.cpu_time;
  read_latency.add(other.read_latency);
  write_latency.add(other.write_latency);
  first_reply = std::min(first_reply, other.first_reply);
}

std::string LoadResult::summary() const {
  return fmt::format(
      "{:.0f} op/s, {:.2f} GB/s read, {:.2f} GB/s written, {}, {}, {} wrong words, {} failed "
      "replies, {} ended connections",
      per_second(operations, elapsed), per_second(read_bytes, elapsed) / 1e9,
      per_second(written_bytes, elapsed) / 1e9, percentiles("reads", read_latency),
      percentiles("writes", write_latency), wrong_words, failed_replies, ended_connections);
}

// One socket. A sender and a receiver, as the kernel has submitters and a receive worker; or one
// thread for both.
class LoadGenerator::Connection {
 public:
  Connection(LoadGenerator& generator, int socket, std::uint64_t seed, bool one_thread,
             const Source& source)
      : generator_(generator),
        source_(source),
        socket_(socket),
        one_thread_(one_thread),
        random_(seed),
        slots_(generator.options_.depth),
        free_cookies_(slots_.size()),
        free_slots_(generator.options_.depth) {
    std::iota(free_cookies_.begin(), free_cookies_.end(), 0U);
    set_timeout(socket, generator.options_.reply_timeout);
    if (one_thread) {
      start(sender_, &Connection::send_and_receive);
    } else {
      start(sender_, &Connection::send_requests);
      start(receiver_, &Connection::receive_replies);
    }
  }

  LoadResult finish() {
    sender_.join();
    if (receiver_.joinable()) receiver_.join();
    const std::scoped_lock lock(generator_.unanswered_mutex_);
    for (const Slot& slot : slots_) {
      if (slot.used) generator_.unanswered_.push_back(slot.operation);
    }
    generator_.unanswered_count_ = generator_.unanswered_.size();
    result_.ended_connections = ended_ ? 1 : 0;
    result_.cpu_time = std::chrono::nanoseconds(cpu_time_);
    return result_;
  }

 private:
  struct Slot {
    Operation operation;
    Clock::time_point sent;
    std::atomic<bool> used = false;
  };

  void start(std::thread& thread, void (Connection::*work)()) {
    thread = std::thread([this, work] {
      (this->*work)();
      cpu_time_ += thread_cpu_time().count();
    });
  }

  void send_and_receive() {
    bool more = true;
    while (!ended_) {
      while (more && in_flight_ < slots_.size()) more = send_next();
      if (in_flight_ == 0) return;
      if (!receive()) end();
    }
  }

  void send_requests() {
    do {
      free_slots_.acquire();
    } while (!ended_ && send_next());
    sender_done_ = true;
    expected_replies_.release();
  }

  void receive_replies() {
    for (;;) {
      expected_replies_.acquire();
      if (sender_done_ && in_flight_ == 0) return;
      if (!receive()) return end();
      free_slots_.release();
    }
  }

  // Needs a free slot. False: there is nothing more to send, or no connection to send it over.
  bool send_next() {
    const auto now = Clock::now();
    const auto operation = generator_.next_operation(random_, now, source_);
    if (!operation) return false;
    const std::uint32_t cookie = free_cookies_[taken_cookies_++ % free_cookies_.size()];
    Slot& slot = slots_[cookie];
    slot.operation = *operation;
    slot.sent = now;
    slot.used.store(true, std::memory_order_release);
    ++in_flight_;
    if (!one_thread_) expected_replies_.release();
    if (send(cookie, *operation)) return true;
    end();
    return false;
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

  bool receive() {
    const auto reply = receive_reply(socket_);
    if (!reply || reply->cookie >= slots_.size() || !slots_[reply->cookie].used) return false;
    Slot& slot = slots_[reply->cookie];
    const Operation operation = slot.operation;
    const bool reads = operation.command == Command::read;
    if (reply->error != 0) {
      ++result_.failed_replies;
    } else if (reads) {
      if (!check_pages(operation)) return false;
    } else {
      note(operation);
    }
    const auto now = Clock::now();
    result_.first_reply = std::min(result_.first_reply, now);
    (reads ? result_.read_latency : result_.write_latency).record(now - slot.sent);
    ++result_.operations;
    generator_.release(operation.first_page, operation.page_count);
    slot.used.store(false, std::memory_order_release);
    free_cookies_[freed_cookies_++ % free_cookies_.size()] =
        static_cast<std::uint32_t>(reply->cookie);
    --in_flight_;
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
  const bool one_thread_;
  std::mt19937_64 random_;
  std::vector<Slot> slots_;
  // Those of free slots, in a ring; `free_slots_` says that there is one.
  std::vector<std::uint32_t> free_cookies_;
  std::size_t taken_cookies_ = 0;  // of the thread that sends
  std::size_t freed_cookies_ = 0;  // of the thread that receives
  Semaphore free_slots_;
  Semaphore expected_replies_{0};
  std::atomic<unsigned> in_flight_ = 0;
  std::atomic<bool> sender_done_ = false;
  std::atomic<bool> ended_ = false;
  std::atomic<std::chrono::nanoseconds::rep> cpu_time_ = 0;
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

LoadResult LoadGenerator::write_all(std::span<const int> sockets) {
  return pass_over_all(sockets, Command::write, 256);
}

LoadResult LoadGenerator::run(std::span<const int> sockets, std::chrono::milliseconds duration) {
  stopped_ = false;
  const auto end = Clock::now() + duration;
  return run_connections(
      sockets, options_.one_thread,
      [this, end](std::mt19937_64& random, Clock::time_point now) -> std::optional<Operation> {
        if (stopped_ || now >= end) return std::nullopt;
        return random_operation(random);
      });
}

LoadResult LoadGenerator::verify(std::span<const int> sockets) {
  return pass_over_all(sockets, Command::read, 64);
}

LoadResult LoadGenerator::pass_over_all(std::span<const int> sockets, Command command,
                                        std::uint64_t pages_at_once) {
  std::atomic<std::uint64_t> next = 0;
  return run_connections(sockets, false, [&](auto&, auto) -> std::optional<Operation> {
    const std::uint64_t first = next.fetch_add(pages_at_once);
    if (first >= page_count_) return std::nullopt;
    const auto count = static_cast<std::uint32_t>(std::min(pages_at_once, page_count_ - first));
    if (!claim_when_free(first, count, sockets.size())) return std::nullopt;
    return Operation{command, first, count, command == Command::write ? ++last_version_ : 0};
  });
}

// An operation that was sent again may still be in flight over another connection. If that one has
// ended, the pages are never released.
bool LoadGenerator::claim_when_free(std::uint64_t first_page, std::uint32_t page_count,
                                    std::size_t connections) {
  while (!claim(first_page, page_count)) {
    if (live_connections_ < connections) return false;
    std::this_thread::yield();
  }
  return true;
}

LoadResult LoadGenerator::run_connections(std::span<const int> sockets, bool one_thread,
                                          const Source& source) {
  const auto start = Clock::now();
  live_connections_ = static_cast<unsigned>(sockets.size());
  std::vector<std::unique_ptr<Connection>> connections;
  for (const int socket : sockets) {
    const auto seed = options_.seed * 1000 + first_page_ + seeds_given_++;
    connections.push_back(std::make_unique<Connection>(*this, socket, seed, one_thread, source));
  }
  LoadResult result;
  for (const auto& connection : connections) result.add(connection->finish());
  result.elapsed = Clock::now() - start;
  return result;
}

std::optional<LoadGenerator::Operation> LoadGenerator::next_operation(std::mt19937_64& random,
                                                                      Clock::time_point now,
                                                                      const Source& source) {
  if (unanswered_count_.load(std::memory_order_relaxed) > 0) {
    if (auto operation = take_unanswered()) return operation;
  }
  return source(random, now);
}

std::optional<LoadGenerator::Operation> LoadGenerator::take_unanswered() {
  const std::scoped_lock lock(unanswered_mutex_);
  if (unanswered_.empty()) return std::nullopt;
  const Operation operation = unanswered_.back();
  unanswered_.pop_back();
  unanswered_count_ = unanswered_.size();
  return operation;
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
