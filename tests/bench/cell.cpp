#include "tests/bench/cell.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

namespace vramswap::bench {
namespace {

struct RequestSize {
  const char* name;
  std::uint32_t pages;
  unsigned most_in_flight;  // more of them is nothing that the kernel does
};
constexpr RequestSize kSizes[] = {
    {"4K", 1, 256}, {"32K", 8, 256}, {"128K", 32, 128}, {"1M", 256, 16}};

struct Concurrency {
  unsigned connections;
  unsigned depth;
};
constexpr Concurrency kConcurrencies[] = {{1, 1}, {1, 32}, {4, 4}, {8, 1},
                                          {8, 4}, {8, 16}, {8, 32}};

struct CellTarget {
  std::string_view cell;
  Target target;
};
constexpr CellTarget kTargets[] = {
    {"read-4K-8x32", {Metric::throughput, 5.0}},    {"read-4K-1x32", {Metric::throughput, 3.0}},
    {"read-32K-4x4", {Metric::throughput, 1.6}},    {"read-32K-8x16", {Metric::throughput, 1.5}},
    {"read-128K-4x4", {Metric::throughput, 2.2}},   {"read-1M-4x4", {Metric::throughput, 2.2}},
    {"write-4K-8x32", {Metric::throughput, 3.5}},   {"write-4K-1x32", {Metric::throughput, 1.8}},
    {"write-128K-4x4", {Metric::throughput, 1.3}},  {"write-1M-4x4", {Metric::throughput, 1.3}},
    {"read-4K-1x1", {Metric::p50, 0.75}},           {"read-4K-1x1", {Metric::p99, 0.75}},
    {"read-32K-1x1", {Metric::p50, 0.8}},           {"mix-4x8", {Metric::p99, 0.5}},
    {"read-4K-8x32", {Metric::cpu_per_page, 0.2}},  {"read-32K-4x4", {Metric::cpu_per_page, 0.5}},
    {"read-128K-4x4", {Metric::cpu_per_page, 0.5}}, {"read-1M-4x4", {Metric::cpu_per_page, 0.5}},
};

}  // namespace

std::vector<Cell> all_cells() {
  std::vector<Cell> cells;
  for (const bool writes : {false, true}) {
    for (const auto& size : kSizes) {
      for (const auto& [connections, depth] : kConcurrencies) {
        if (connections * depth > size.most_in_flight) continue;
        cells.push_back({.name = fmt::format("{}-{}-{}x{}", writes ? "write" : "read", size.name,
                                             connections, depth),
                         .connections = connections,
                         .load = {.depth = depth,
                                  .read_pages = {size.pages, size.pages},
                                  .write_pages = {size.pages, size.pages},
                                  .write_share = writes ? 1.0 : 0.0,
                                  .one_thread = true}});
      }
    }
  }
  cells.push_back(
      {.name = "mix-4x8",
       .connections = 4,
       .load = {.depth = 8, .read_pages = {8, 8}, .write_pages = {32, 32}, .write_share = 0.3}});
  return cells;
}

std::vector<Target> targets_of(const Cell& cell) {
  std::vector<Target> targets;
  for (const auto& [name, target] : kTargets) {
    if (name == cell.name) targets.push_back(target);
  }
  const auto of_throughput = [](const Target& t) { return t.metric == Metric::throughput; };
  if (std::ranges::none_of(targets, of_throughput)) {
    targets.insert(targets.begin(), {Metric::throughput, 1.0});
  }
  return targets;
}

}  // namespace vramswap::bench
