// The command line of the hog.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace hog {

constexpr unsigned max_threads = 16;

// In what order a share's pages are verified; they are always written in order.
enum class Order {
  sequential,
  scattered,  // by a stride that is far longer than the kernel's readahead
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

// Reports wrong usage, and ends the program with 2.
Options parse(int argc, char** argv);

}  // namespace hog
