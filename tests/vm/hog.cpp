// Uses more memory than the guest has, and knows every word of it: writes a seeded pattern, reads
// it back as often as asked, and says how many words were wrong and how long the longest page took.
//
// Exit status: 0 every word right, 1 a word wrong, 2 wrong usage, 3 pages lost (SIGBUS) but no word
// wrong.

#include <getopt.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <initializer_list>

namespace {

constexpr std::size_t page_size = 4096;
constexpr std::size_t words_per_page = page_size / sizeof(std::uint64_t);
constexpr unsigned max_threads = 16;

// In what order a share's pages are verified; they are always written in order.
enum class Order {
  sequential,
  scattered,  // by a stride that is far longer than what the kernel reads ahead
  random,     // each page once, and neither its neighbours nor a stride predict the next
};

struct Options {
  std::size_t mib = 0;
  unsigned passes = 2;
  std::chrono::seconds seconds{0};  // 0: as many passes as asked
  unsigned threads = 1;
  std::uint64_t seed = 1;
  Order order = Order::sequential;
  bool rewrite = false;
  bool hold = false;
};

struct Tally {
  std::uint64_t words_verified = 0;
  std::uint64_t wrong_words = 0;
  std::uint64_t lost_pages = 0;  // in every pass anew
  std::chrono::nanoseconds max_stall{0};
};

enum class Action { write, verify, finish };

struct Share;

struct Work {
  Options options;
  std::uint64_t* memory = nullptr;
  std::uint64_t seed = 0;
  Action action = Action::write;
  pthread_barrier_t start;
  pthread_barrier_t done;
};

struct Share {
  Work* work = nullptr;
  std::size_t first_page = 0;
  std::size_t page_count = 0;
  Tally tally;
  std::atomic<std::chrono::nanoseconds::rep> window_stall{0};
  pthread_t thread;
};

thread_local sigjmp_buf lost_page;

void on_lost_page(int) {
  siglongjmp(lost_page, 1);
}

std::uint64_t pattern(std::uint64_t seed, std::uint64_t index) {
  const std::uint64_t product = (index + seed * 0x9e3779b97f4a7c15U) * 0xd1342543de82ef95U;
  return product ^ (product >> 32);
}

// The step of an order without locality: a stride that has no factor in common with the count of
// pages visits each page once, and no list of them has to be kept.
std::size_t scattering_stride(std::size_t page_count) {
  auto has_common_factor = [&](std::size_t stride) {
    std::size_t a = page_count;
    std::size_t b = stride;
    while (b != 0) {
      const std::size_t rest = a % b;
      a = b;
      b = rest;
    }
    return a != 1;
  };
  std::size_t stride = page_count * 5 / 8 + 1;
  while (has_common_factor(stride)) ++stride;
  return stride;
}

// The `index`-th number of a shuffled row of the powers of two up to `bits`: both steps can be
// undone, so none comes twice.
std::size_t shuffled(std::size_t index, unsigned bits) {
  const std::size_t mask = (std::size_t{1} << bits) - 1;
  for (int i = 0; i < 2; ++i) {
    index = index * 0xd1342543de82ef95U & mask;
    index ^= index >> ((bits + 1) / 2);
  }
  return index;
}

void write_page(const Work& work, std::size_t page) {
  std::uint64_t* words = work.memory + page * words_per_page;
  for (std::size_t i = 0; i < words_per_page; ++i) {
    words[i] = pattern(work.seed, page * words_per_page + i);
  }
}

std::uint64_t count_wrong_words(const Work& work, std::size_t page) {
  const std::uint64_t* words = work.memory + page * words_per_page;
  std::uint64_t wrong = 0;
  for (std::size_t i = 0; i < words_per_page; ++i) {
    wrong += words[i] != pattern(work.seed, page * words_per_page + i);
  }
  return wrong;
}

// Counted when the touch has ended, so that a stall is in one window only, and there as a whole.
void note_stall(Share& share, std::chrono::nanoseconds stall) {
  share.tally.max_stall = std::max(share.tally.max_stall, stall);
  auto longest = share.window_stall.load();
  while (longest < stall.count() &&
         !share.window_stall.compare_exchange_weak(longest, stall.count())) {
  }
}

// The fault is taken by this access alone, so that the time is the kernel's and not the pattern's.
void touch_page(const Work& work, std::size_t page, Share& share) {
  volatile std::uint64_t* word = work.memory + page * words_per_page;
  const auto before = std::chrono::steady_clock::now();
  if (work.action == Action::write) {
    *word = 0;
  } else {
    static_cast<void>(*word);
  }
  note_stall(share, std::chrono::steady_clock::now() - before);
}

void run_page(const Work& work, std::size_t page, Share& share) {
  Tally& tally = share.tally;
  if (sigsetjmp(lost_page, 1) != 0) {
    ++tally.lost_pages;
    return;
  }
  touch_page(work, page, share);
  if (work.action == Action::write) {
    write_page(work, page);
  } else {
    tally.wrong_words += count_wrong_words(work, page);
    tally.words_verified += words_per_page;
  }
}

void run_pages_at_random(Share& share) {
  const unsigned bits = std::bit_width(share.page_count);
  for (std::size_t i = 0; i < std::size_t{1} << bits; ++i) {
    const std::size_t offset = shuffled(i, bits);
    if (offset < share.page_count) run_page(*share.work, share.first_page + offset, share);
  }
}

void run_pages(Share& share) {
  const Work& work = *share.work;
  // Writing in order and reading out of order is what defeats the kernel's read-ahead.
  const Order order = work.action == Action::verify ? work.options.order : Order::sequential;
  if (order == Order::random) return run_pages_at_random(share);
  const bool scattered = order == Order::scattered;
  const std::size_t stride = scattered ? scattering_stride(share.page_count) : 1;
  std::size_t offset = 0;
  for (std::size_t i = 0; i < share.page_count; ++i) {
    run_page(work, share.first_page + offset, share);
    offset = (offset + stride) % share.page_count;
  }
}

void* run_share(void* argument) {
  auto& share = *static_cast<Share*>(argument);
  while (true) {
    pthread_barrier_wait(&share.work->start);
    if (share.work->action == Action::finish) return nullptr;
    run_pages(share);
    pthread_barrier_wait(&share.work->done);
  }
}

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::exit(2);
}

[[noreturn]] void usage() {
  std::fputs(
      "usage: hog --mib N [--passes 2] [--order sequential|scattered|random] [--rewrite]\n"
      "           [--threads 1] [--seed 1] [--hold | --seconds N]\n"
      "  --rewrite  write a new pattern between the passes\n"
      "  --hold     after the passes, keep the memory until SIGTERM; SIGUSR1 verifies it again\n"
      "  --seconds  as many passes as there is time for, and one more; SIGTERM ends the time.\n"
      "             SIGUSR2 begins a new window and prints the longest page of the last one; a "
      "page\n"
      "             counts in the window in which it has come, with all of its time\n",
      stderr);
  std::exit(2);
}

std::uint64_t parse_number(const char* text, std::uint64_t least, std::uint64_t most) {
  char* end = nullptr;
  const std::uint64_t number = std::strtoull(text, &end, 10);
  if (end == text || *end != '\0' || number < least || number > most) usage();
  return number;
}

Order parse_order(const char* text) {
  if (std::strcmp(text, "sequential") == 0) return Order::sequential;
  if (std::strcmp(text, "scattered") == 0) return Order::scattered;
  if (std::strcmp(text, "random") != 0) usage();
  return Order::random;
}

Options parse(int argc, char** argv) {
  static constexpr std::array<option, 9> long_options{{{"mib", required_argument, nullptr, 'm'},
                                                       {"passes", required_argument, nullptr, 'p'},
                                                       {"order", required_argument, nullptr, 'o'},
                                                       {"rewrite", no_argument, nullptr, 'r'},
                                                       {"threads", required_argument, nullptr, 't'},
                                                       {"seed", required_argument, nullptr, 's'},
                                                       {"hold", no_argument, nullptr, 'h'},
                                                       {"seconds", required_argument, nullptr, 'S'},
                                                       {}}};
  Options options;
  for (int c; (c = getopt_long(argc, argv, "", long_options.data(), nullptr)) != -1;) {
    switch (c) {
      case 'm':
        options.mib = parse_number(optarg, 1, 1U << 20);
        break;
      case 'p':
        options.passes = static_cast<unsigned>(parse_number(optarg, 0, 1000));
        break;
      case 'o':
        options.order = parse_order(optarg);
        break;
      case 'r':
        options.rewrite = true;
        break;
      case 't':
        options.threads = static_cast<unsigned>(parse_number(optarg, 1, max_threads));
        break;
      case 's':
        options.seed = parse_number(optarg, 0, UINT32_MAX);
        break;
      case 'h':
        options.hold = true;
        break;
      case 'S':
        options.seconds = std::chrono::seconds(parse_number(optarg, 1, 1U << 20));
        break;
      default:
        usage();
    }
  }
  if (options.mib == 0 || optind != argc) usage();
  if (options.hold && options.seconds.count() != 0) usage();
  return options;
}

sigset_t signal_set(std::initializer_list<int> signals) {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : signals) sigaddset(&set, signal);
  return set;
}

// What main waits for with --hold, and the reporter with --seconds.
sigset_t awaited_signals(const Options& options) {
  return options.hold ? signal_set({SIGUSR1, SIGTERM}) : signal_set({SIGUSR2, SIGTERM});
}

long long in_milliseconds(std::chrono::nanoseconds time) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(time).count();
}

class Hog {
 public:
  explicit Hog(const Options& options) {
    work_.options = options;
    work_.seed = options.seed;
    // The hog's own pages stay in memory, so that a lost page is always one of the pattern's: the
    // lock covers the threads' stacks, and is lifted for what is mapped later.
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) die("hog: mlockall");
    start_threads();
    if (mlockall(MCL_CURRENT) != 0) die("hog: mlockall");
    void* memory = mmap(nullptr, options.mib << 20, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) die("hog: mmap");
    work_.memory = static_cast<std::uint64_t*>(memory);
    // Huge pages would make the longest page touch that of 512 pages.
    madvise(memory, options.mib << 20, MADV_NOHUGEPAGE);
  }

  ~Hog() {
    work_.action = Action::finish;
    pthread_barrier_wait(&work_.start);
    for (unsigned i = 0; i < work_.options.threads; ++i) pthread_join(shares_[i].thread, nullptr);
    if (has_reporter()) {
      pthread_cancel(reporter_);
      pthread_join(reporter_, nullptr);
    }
  }

  Hog(const Hog&) = delete;
  Hog& operator=(const Hog&) = delete;

  void write() { run(Action::write); }
  void verify() { run(Action::verify); }

  void rewrite() {
    ++work_.seed;
    write();
  }

  bool is_time_over() const {
    return is_told_to_end_ || std::chrono::steady_clock::now() - started_ >= work_.options.seconds;
  }

  // The longest page touch since the last such report.
  void report_window() {
    std::chrono::nanoseconds longest{0};
    for (Share& share : shares_) {
      longest = std::max(longest, std::chrono::nanoseconds(share.window_stall.exchange(0)));
    }
    std::printf("hog: window max_stall_ms=%lld\n", in_milliseconds(longest));
  }

  void report(const char* what) const {
    const Tally sum = total();
    std::printf("hog: %swords_verified=%llu wrong_words=%llu lost_pages=%llu max_stall_ms=%lld\n",
                what, static_cast<unsigned long long>(sum.words_verified),
                static_cast<unsigned long long>(sum.wrong_words),
                static_cast<unsigned long long>(sum.lost_pages), in_milliseconds(sum.max_stall));
  }

  int exit_status() const {
    const Tally sum = total();
    if (sum.wrong_words != 0) return 1;
    return sum.lost_pages != 0 ? 3 : 0;
  }

 private:
  bool has_reporter() const { return work_.options.seconds.count() != 0; }

  static void* run_reporter(void* argument) {
    Hog& hog = *static_cast<Hog*>(argument);
    const sigset_t signals = awaited_signals(hog.work_.options);
    for (int signal = 0; sigwait(&signals, &signal) == 0;) {
      if (signal == SIGTERM) {
        hog.is_told_to_end_ = true;
      } else {
        hog.report_window();
      }
    }
    return nullptr;
  }

  void start_threads() {
    const unsigned threads = work_.options.threads;
    pthread_barrier_init(&work_.start, nullptr, threads + 1);
    pthread_barrier_init(&work_.done, nullptr, threads + 1);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 64 << 10);
    const std::size_t pages = (work_.options.mib << 20) / page_size;
    for (unsigned i = 0; i < threads; ++i) {
      Share& share = shares_[i];
      share.work = &work_;
      share.first_page = pages * i / threads;
      share.page_count = pages * (i + 1) / threads - share.first_page;
      errno = pthread_create(&share.thread, &attributes, run_share, &share);
      if (errno != 0) die("hog: pthread_create");
    }
    if (has_reporter()) {
      errno = pthread_create(&reporter_, &attributes, run_reporter, this);
      if (errno != 0) die("hog: pthread_create");
    }
    pthread_attr_destroy(&attributes);
  }

  void run(Action action) {
    work_.action = action;
    pthread_barrier_wait(&work_.start);
    pthread_barrier_wait(&work_.done);
  }

  Tally total() const {
    Tally sum;
    for (const Share& share : shares_) {
      sum.words_verified += share.tally.words_verified;
      sum.wrong_words += share.tally.wrong_words;
      sum.lost_pages += share.tally.lost_pages;
      sum.max_stall = std::max(sum.max_stall, share.tally.max_stall);
    }
    return sum;
  }

  Work work_;
  std::array<Share, max_threads> shares_;
  pthread_t reporter_{};
  std::atomic<bool> is_told_to_end_{false};
  const std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
};

void timed(const char* what, const std::function<void()>& pass) {
  const auto started = std::chrono::steady_clock::now();
  pass();
  const auto taken = std::chrono::steady_clock::now() - started;
  std::printf("hog: pass %s ms=%lld\n", what, in_milliseconds(taken));
}

void run_passes(Hog& hog, const Options& options) {
  for (unsigned pass = 0; pass < options.passes; ++pass) {
    if (options.rewrite && pass != 0) timed("write", [&] { hog.rewrite(); });
    timed("verify", [&] { hog.verify(); });
  }
}

// The last pass begins when the time is over: no page has been seen for the last time before.
void run_until_over(Hog& hog, const Options& options) {
  while (!hog.is_time_over()) {
    hog.verify();
    if (options.rewrite) hog.rewrite();
  }
  hog.verify();
  hog.report_window();
}

void hold(Hog& hog, const Options& options) {
  const sigset_t signals = awaited_signals(options);
  hog.report("holding ");
  for (int signal = 0; sigwait(&signals, &signal) == 0 && signal == SIGUSR1;) {
    hog.verify();
    hog.report("verified ");
  }
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  if (options.hold || options.seconds.count() != 0) {
    const sigset_t signals = awaited_signals(options);
    sigprocmask(SIG_BLOCK, &signals, nullptr);
  }
  struct sigaction lost {};
  lost.sa_handler = on_lost_page;
  sigaction(SIGBUS, &lost, nullptr);

  Hog hog(options);
  timed("write", [&] { hog.write(); });
  if (options.seconds.count() != 0) {
    run_until_over(hog, options);
  } else {
    run_passes(hog, options);
  }
  if (options.hold) hold(hog, options);
  hog.report("");
  return hog.exit_status();
}
