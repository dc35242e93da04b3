// Uses more memory than the guest has, and knows every word of it: writes a seeded pattern, reads
// it back as often as asked, and says how many words were wrong and how long the longest page took.
//
// Exit status: 0 every word right, 1 a word wrong, 2 wrong usage, 3 pages lost (SIGBUS) but no word
// wrong.

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <initializer_list>

#include "tests/vm/hog_options.hpp"
#include "tests/vm/hog_pages.hpp"

namespace hog {
namespace {

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
    // lock covers the threads' stacks, and is lifted for later mappings.
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

  // In the opposite order to the last time: the pages from the end of the last time are still in
  // memory, and those in swap are read once. In the same order, each page would push out the next
  // one.
  void verify_back_and_forth() {
    work_.is_backwards = !work_.is_backwards;
    verify();
  }

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
    hog.verify_back_and_forth();
    hog.report("verified ");
  }
}

}  // namespace
}  // namespace hog

int main(int argc, char** argv) {
  using namespace hog;
  const Options options = parse(argc, argv);
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  if (options.hold || options.seconds.count() != 0) {
    const sigset_t signals = awaited_signals(options);
    sigprocmask(SIG_BLOCK, &signals, nullptr);
  }
  survive_lost_pages();

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
