#include "swapctl/settings.hpp"

#include <fmt/format.h>
#include <grp.h>

#include <algorithm>
#include <boost/program_options/errors.hpp>
#include <boost/program_options/value_semantic.hpp>
#include <cerrno>
#include <utility>
#include <vector>

#include "daemon/base/page_size.hpp"
#include "swapctl/integer.hpp"

namespace vramswap::swapctl {
namespace {

namespace po = boost::program_options;
using control::UpRequest;

// CUDA hands out physical memory in pieces of this size.
constexpr std::uint64_t kVramGranularity = 2ULL << 20;
constexpr std::int64_t kMaxSeconds = 86400;
constexpr std::int64_t kMaxHangSeconds = 3600;

// A notifier reports errors by the library's exception.
template <class T>
T value_or_throw(Result<T> result) {
  if (!result) throw po::error(result.error().message);
  return *std::move(result);
}

control::Size parse_pool_size(const std::string& text) {
  const auto size = value_or_throw(control::parse_size(text));
  const auto* bytes = std::get_if<control::Bytes>(&size);
  if (bytes && bytes->value < kPageBytes) {
    throw po::error(fmt::format("size '{}': below one page ({} bytes)", text, kPageBytes));
  }
  return size;
}

int parse_priority(std::string_view text) {
  return parse_integer("priority", text, control::kMinPriority, control::kMaxPriority);
}

control::Backend parse_backend(std::string_view text) {
  return value_or_throw(control::parse_backend(text));
}

unsigned parse_connections(std::string_view text) {
  return parse_integer("connections", text, 0U, control::kMaxConnections);
}

std::chrono::seconds parse_seconds(const char* name, std::string_view text, std::int64_t low,
                                   std::int64_t high) {
  return std::chrono::seconds(parse_integer<std::int64_t>(name, text, low, high));
}

std::uint64_t parse_segment_size(const std::string& text) {
  const auto bytes = control::parse_byte_size(text);
  if (!bytes) throw po::error("segment-size: " + bytes.error().message);
  if (*bytes % kVramGranularity != 0) {
    throw po::error(
        fmt::format("segment-size '{}': must be a multiple of {}, the granularity of VRAM", text,
                    control::format_bytes(kVramGranularity)));
  }
  return *bytes;
}

// The daemon looks no group up: a directory service may have to be asked, and it may be in swap.
gid_t parse_group(const std::string& name) {
  std::vector<char> text(1024);
  group entry{};
  group* found = nullptr;
  while (getgrnam_r(name.c_str(), &entry, text.data(), text.size(), &found) == ERANGE) {
    text.resize(text.size() * 2);
  }
  // Some services have an error for a group that is not there.
  if (found == nullptr) {
    throw po::error(fmt::format("lend-group '{}': there is no such group", name));
  }
  return found->gr_gid;
}

std::vector<std::string> check_gpus(const std::vector<std::string>& gpus) {
  if (std::ranges::count(gpus, std::string()) != 0) {
    throw po::error("gpu '': name a GPU by index, UUID or PCI address (see nvidia-smi -L)");
  }
  return gpus;
}

}  // namespace

po::options_description up_settings(UpRequest& request) {
  using Text = const std::string&;
  using Texts = const std::vector<std::string>&;
  const UpRequest defaults;
  po::options_description settings("Settings, in config files as well");
  const auto add = [&](const char* name, po::value_semantic* value, const std::string& help) {
    settings.add_options()(name, value, help.c_str());
  };
  // May be given at most once in each source.
  const auto one = [](const char* argument, auto write) {
    return po::value<std::string>()->value_name(argument)->notifier(write);
  };
  const auto several = [](const char* argument, auto write) {
    return po::value<std::vector<std::string>>()->value_name(argument)->notifier(write);
  };

  add("size", one("SIZE", [&request](Text text) { request.size = parse_pool_size(text); }),
      "how much swap to make; needed here or in a config file");
  add("priority", one("N", [&request](Text text) { request.priority = parse_priority(text); }),
      fmt::format("swap priority, {}..{}; the kernel fills the highest first. -1: the kernel "
                  "chooses, below all others (default {})",
                  control::kMinPriority, control::kMaxPriority, defaults.priority));
  add("gpu", several("GPU", [&request](Texts texts) { request.gpus = check_gpus(texts); }),
      "index, UUID or PCI address; repeat it to spread the swap over several. Without it the "
      "first GPU; the ram backend ignores it");
  add("backend", one("NAME", [&request](Text text) { request.backend = parse_backend(text); }),
      fmt::format("vram, or ram: host memory, to try vramswap out (default {})",
                  to_string(defaults.backend)));
  add("segment-size",
      one("SIZE", [&request](Text text) { request.segment_size_bytes = parse_segment_size(text); }),
      fmt::format("largest piece with a swap area of its own, a multiple of {} (default {})",
                  control::format_bytes(kVramGranularity),
                  control::format_bytes(defaults.segment_size_bytes)));
  add("connections",
      one("N", [&request](Text text) { request.connections = parse_connections(text); }),
      fmt::format(
          "I/O threads and sockets of each device, 0..{}; 0: by the number of cores (default {})",
          control::kMaxConnections, defaults.connections));
  add("reconnect-timeout",
      one("SECONDS",
          [&request](Text text) {
            request.reconnect_timeout = parse_seconds("reconnect-timeout", text, 1, kMaxSeconds);
          }),
      fmt::format("how long the kernel holds swap I/O while no worker serves; then it fails. "
                  "1..{} (default {})",
                  kMaxSeconds, defaults.reconnect_timeout.count()));
  add("doze-after",
      one("SECONDS",
          [&request](Text text) {
            request.doze_after = parse_seconds("doze-after", text, 0, kMaxSeconds);
          }),
      fmt::format(
          "give up the GPU context after this long without swap I/O, so that the card's clocks go "
          "down; the next page then waits for a new context. 0..{}; 0: never "
          "(default {}; the ram backend: never)",
          kMaxSeconds, control::kDefaultDozeAfter.count()));
  add("hang-timeout",
      one("SECONDS",
          [&request](Text text) {
            request.hang_timeout = parse_seconds("hang-timeout", text, 1, kMaxHangSeconds);
          }),
      fmt::format(
          "if a copy to or from the GPU takes longer, the GPU counts as hung and the worker is "
          "replaced, 1..{} (default {})",
          kMaxHangSeconds, defaults.hang_timeout.count()));
  add("lend-group", one("GROUP", [&request](Text text) { request.lend_group = parse_group(text); }),
      "its members may lend VRAM and take it back; without it only root may");
  return settings;
}

std::string names_of(const po::options_description& settings) {
  std::vector<std::string> names;
  for (const auto& option : settings.options()) names.push_back(option->long_name());
  return fmt::format("{}", fmt::join(names, ", "));
}

Result<void> check_complete(const UpRequest& request) {
  // No setting writes zero, so zero means that no source has set it.
  if (request.size == control::Size{control::Bytes{0}}) {
    return fail("size is missing: write e.g. --size 7G, or size = 7G in /etc/vramswap.conf");
  }
  return {};
}

}  // namespace vramswap::swapctl
