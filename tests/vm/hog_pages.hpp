// The pages of the hog: their content, how they are verified, and how long each one took to come.
#pragma once

#include <pthread.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include "tests/vm/hog_options.hpp"

namespace hog {

constexpr std::size_t page_size = 4096;

struct Tally {
  std::uint64_t words_verified = 0;
  std::uint64_t wrong_words = 0;
  std::uint64_t lost_pages = 0;  // counted again in every pass
  std::chrono::nanoseconds max_stall{0};
};

enum class Action { write, verify, finish };

// What all threads share.
struct Work {
  Options options;
  std::uint64_t* memory = nullptr;
  std::uint64_t seed = 0;
  Action action = Action::write;
  bool is_backwards = false;  // from the last page to the first, if pages are verified in order
  pthread_barrier_t start;
  pthread_barrier_t done;
};

// The pages of one thread.
struct Share {
  Work* work = nullptr;
  std::size_t first_page = 0;
  std::size_t page_count = 0;
  Tally tally;
  std::atomic<std::chrono::nanoseconds::rep> window_stall{0};
  pthread_t thread;
};

// Before the first page: a page that the kernel cannot bring back counts as lost, and does not end
// the program.
void survive_lost_pages();
// Applies the work's action to each page.
void run_pages(Share& share);

}  // namespace hog
