#include "tests/vm/hog_pages.hpp"

#include <setjmp.h>
#include <signal.h>

#include <algorithm>
#include <bit>

namespace hog {
namespace {

constexpr std::size_t words_per_page = page_size / sizeof(std::uint64_t);

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

}  // namespace

void survive_lost_pages() {
  struct sigaction lost {};
  lost.sa_handler = on_lost_page;
  sigaction(SIGBUS, &lost, nullptr);
}

void run_pages(Share& share) {
  const Work& work = *share.work;
  // Writing in order and reading out of order is what defeats the kernel's read-ahead.
  const Order order = work.action == Action::verify ? work.options.order : Order::sequential;
  if (order == Order::random) return run_pages_at_random(share);
  const bool scattered = order == Order::scattered;
  const std::size_t stride = scattered ? scattering_stride(share.page_count) : 1;
  const bool backwards = work.is_backwards && order == Order::sequential;
  std::size_t offset = 0;
  for (std::size_t i = 0; i < share.page_count; ++i) {
    run_page(work, share.first_page + (backwards ? share.page_count - 1 - offset : offset), share);
    offset = (offset + stride) % share.page_count;
  }
}

}  // namespace hog
