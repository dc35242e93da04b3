#include "tests/vm/hog_options.hpp"

#include <getopt.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace hog {
namespace {

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

}  // namespace

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

}  // namespace hog
