// The grid of loads that are measured, and the targets of the engine in each.
#pragma once

#include <string>
#include <vector>

#include "tests/load/load_generator.hpp"

namespace vramswap::bench {

// "read-4K-8x32": requests of 4 KiB over 8 connections, 32 in flight on each.
struct Cell {
  std::string name;
  unsigned connections = 1;
  load::LoadOptions load;

  // Whether the latencies shown are those of the reads; else of the writes.
  bool reads() const { return load.write_share < 1; }
};

// Reads, writes, then "mix-4x8": 70 % reads of 32 KiB, 30 % writes of 128 KiB.
std::vector<Cell> all_cells();

enum class Metric { throughput, p50, p99, cpu_per_page };

// The limit for the engine's value divided by the per-request server's.
struct Target {
  Metric metric;
  double ratio;

  // Throughput must be at least this high, everything else at most.
  bool is_met(double measured) const {
    return metric == Metric::throughput ? measured >= ratio : measured <= ratio;
  }
};

// At least one: nowhere may the throughput be lower.
std::vector<Target> targets_of(const Cell& cell);

}  // namespace vramswap::bench
