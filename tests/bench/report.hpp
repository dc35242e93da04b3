// The tables of a run: the measurements, and the targets that are met.
#pragma once

#include <string>
#include <vector>

#include "tests/bench/cell.hpp"
#include "tests/bench/measured_server.hpp"

namespace vramswap::bench {

struct CellResult {
  Cell cell;
  // A measurement a round; the two of a round were taken one right after the other.
  std::vector<Measurement> engine;
  std::vector<Measurement> per_request;  // none where the engine was measured alone

  // The median of the rounds' ratios, engine to per-request server.
  double ratio(Metric metric) const;
};

enum class TableStyle { plain, markdown };

// "read-4K-8x32: engine 2.00M op/s ..., per-request ..., 4.30x"
std::string one_line(const CellResult& result);
// Medians of the rounds, "engine / per-request"; the ratio is that of the throughputs.
std::string measurements_table(const std::vector<CellResult>& results, TableStyle style);
std::string targets_table(const std::vector<CellResult>& results, TableStyle style);
std::size_t count_missed_targets(const std::vector<CellResult>& results);

}  // namespace vramswap::bench
