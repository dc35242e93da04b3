#include "swapctl/bench/settings.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/program_options/errors.hpp>
#include <boost/program_options/value_semantic.hpp>
#include <charconv>
#include <string_view>

namespace vramswap::swapctl {
namespace {

namespace po = boost::program_options;

// CUDA allocates VRAM in pieces of this size.
constexpr std::uint64_t kGranularity = 2ULL << 20;
constexpr unsigned kMaxSeconds = 3600;
constexpr unsigned kMaxReads = 3600;
// If a worker cannot be replaced, the test fails after this time. Swap waits longer.
constexpr std::chrono::seconds kReconnectTimeout{30};

std::uint64_t parse_size(const std::string& text) {
  const auto bytes = control::parse_byte_size(text);
  if (!bytes) throw po::error(bytes.error().message);
  if (*bytes % kGranularity != 0) {
    throw po::error(fmt::format("size '{}': must be a multiple of {}, the granularity of VRAM",
                                text, control::format_bytes(kGranularity)));
  }
  return *bytes;
}

unsigned parse_number(const char* name, std::string_view text, unsigned high) {
  unsigned value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || stop != text.data() + text.size() || value < 1 || value > high) {
    throw po::error(fmt::format("{} '{}': must be a whole number 1..{}", name, text, high));
  }
  return value;
}

}  // namespace

po::options_description bench_options(BenchSettings& settings) {
  using Text = const std::string&;
  const BenchSettings defaults;
  po::options_description options("Options");
  const auto add = [&](const char* name, const po::value_semantic* value, const std::string& help) {
    options.add_options()(name, value, help.c_str());
  };
  const auto one = [](const char* argument, auto write) {
    return po::value<std::string>()->value_name(argument)->notifier(write);
  };
  add("size", one("SIZE", [&settings](Text text) { settings.size_bytes = parse_size(text); }),
      fmt::format("size of the scratch segment on each GPU, a multiple of {} (default {})",
                  control::format_bytes(kGranularity), control::format_bytes(defaults.size_bytes)));
  add("seconds",
      one("N",
          [&settings](Text text) {
            settings.plan.duration =
                std::chrono::seconds(parse_number("seconds", text, kMaxSeconds));
          }),
      fmt::format(
          "duration of each sequential and random test, 1..{} (default {})", kMaxSeconds,
          std::chrono::duration_cast<std::chrono::seconds>(defaults.plan.duration).count()));
  add("reads",
      one("N",
          [&settings](Text text) {
            settings.plan.single_reads = parse_number("reads", text, kMaxReads);
          }),
      fmt::format("single reads, one a second, 1..{} (default {})", kMaxReads,
                  defaults.plan.single_reads));
  add("plot", one("FILE", [&settings](Text text) { settings.plot = text; }),
      "draw the results in this file, in SVG");
  options.add_options()("json", po::bool_switch(&settings.json), "for programs: one object")(
      "config", po::value<std::string>()->value_name("FILE"), "read this file, not those in /etc");
  return options;
}

po::options_description scratch_options(const po::options_description& up) {
  constexpr std::string_view kNames[] = {"gpu", "backend", "connections"};
  po::options_description options(
      "Settings of the scratch segment, as for up and in the same files");
  for (const auto& option : up.options()) {
    if (std::ranges::find(kNames, option->long_name()) != std::end(kNames)) options.add(option);
  }
  return options;
}

control::UpRequest scratch_request(control::UpRequest up, std::uint64_t size_bytes) {
  if (up.backend == control::Backend::ram) up.gpus.clear();
  // The pool is divided between its GPUs, and here each gets one piece.
  up.size = control::Bytes{size_bytes * std::max<std::size_t>(up.gpus.size(), 1)};
  up.segment_size_bytes = size_bytes;
  up.reconnect_timeout = kReconnectTimeout;
  return up;
}

}  // namespace vramswap::swapctl
