#include "swapctl/io_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "daemon/base/page_size.hpp"
#include "daemon/control/status_json.hpp"

namespace vramswap::swapctl {
namespace {

using control::IoStats;
using control::Transfers;
using Json = nlohmann::ordered_json;  // as written here, not by name

using IoRow = std::array<std::string, 7>;

// Three digits or so, in the unit that fits.
std::string format_latency(std::chrono::nanoseconds latency) {
  const auto microseconds = std::chrono::duration<double, std::micro>(latency).count();
  const auto shown = [](double value, const char* unit) {
    return fmt::format("{:.{}f} {}", value, value < 10 ? 1 : 0, unit);
  };
  if (microseconds < 999.5) return shown(microseconds, "us");
  if (microseconds < 999.5e3) return shown(microseconds / 1e3, "ms");
  return shown(microseconds / 1e6, "s");
}

// `cells` are the first four.
IoRow row_of(std::array<std::string, 4> cells, const LatencyHistogram& latency) {
  const auto shown = [&](std::chrono::nanoseconds value) {
    return latency.count() == 0 ? "-" : format_latency(value);
  };
  return {std::move(cells[0]),
          std::move(cells[1]),
          std::move(cells[2]),
          std::move(cells[3]),
          shown(latency.percentile(0.5)),
          shown(latency.percentile(0.99)),
          shown(latency.max())};
}

IoRow totals_row(const char* name, const Transfers& transfers) {
  return row_of({name, fmt::format("{}", transfers.requests), fmt::format("{}", transfers.pages),
                 control::format_bytes(transfers.pages * kPageBytes)},
                transfers.latency);
}

IoRow rates_row(const char* name, const TransferRates& rates) {
  return row_of({name, fmt::format("{:.0f}", rates.requests_per_second),
                 fmt::format("{:.0f}", rates.pages_per_second),
                 fmt::format("{:.1f}", rates.pages_per_second * kPageBytes / 1e6)},
                rates.latency);
}

// Names to the left, numbers to the right.
std::string format_rows(const std::array<IoRow, 3>& rows) {
  std::string text;
  for (const IoRow& row : rows) {
    for (std::size_t column = 0; column < row.size(); ++column) {
      std::size_t width = 0;
      for (const IoRow& other : rows) width = std::max(width, other[column].size());
      text += column == 0 ? fmt::format("  {:<{}}", row[column], width)
                          : fmt::format("  {:>{}}", row[column], width);
    }
    text += '\n';
  }
  return text;
}

std::string count_of(std::uint64_t count, const char* what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

double requests_per_batch(const IoStats& stats) {
  if (stats.batches == 0) return 0;
  return static_cast<double>(stats.batched_requests) / static_cast<double>(stats.batches);
}

Json with_latencies(Json json, const LatencyHistogram& latency) {
  json["p50_ns"] = latency.percentile(0.5).count();
  json["p99_ns"] = latency.percentile(0.99).count();
  json["max_ns"] = latency.max().count();
  return json;
}

Json json_of(const Transfers& transfers) {
  return with_latencies({{"requests", transfers.requests}, {"pages", transfers.pages}},
                        transfers.latency);
}

Json json_of(const TransferRates& rates) {
  return with_latencies({{"requests_per_second", rates.requests_per_second},
                         {"pages_per_second", rates.pages_per_second}},
                        rates.latency);
}

std::int64_t to_microseconds(std::chrono::nanoseconds duration) {
  return std::chrono::duration_cast<std::chrono::microseconds>(duration).count();
}

}  // namespace

std::string totals_text(const IoStats& stats) {
  const IoRow heading{"", "REQUESTS", "PAGES", "SIZE", "P50", "P99", "MAX"};
  return format_rows(
             {heading, totals_row("reads", stats.reads), totals_row("writes", stats.writes)}) +
         fmt::format("  {:.1f} requests a batch, at most {}; {}, {}\n", requests_per_batch(stats),
                     stats.largest_batch, count_of(stats.trims, "trim"),
                     count_of(stats.errors, "error"));
}

std::string rates_text(const IoRates& rates) {
  const IoRow heading{"", "REQUESTS/S", "PAGES/S", "MB/S", "P50", "P99", "MAX"};
  return format_rows(
             {heading, rates_row("reads", rates.reads), rates_row("writes", rates.writes)}) +
         fmt::format("  {:.1f} requests a batch; {:.0f} trims/s, {}\n", rates.requests_per_batch,
                     rates.trims_per_second, count_of(rates.errors, "error"));
}

Json totals_json(const IoStats& stats) {
  Json json = {{"counted_for_us", to_microseconds(stats.counted_for)},
               {"reads", json_of(stats.reads)},
               {"writes", json_of(stats.writes)}};
  control::add_counters(json, stats);
  return json;
}

Json rates_json(const IoRates& rates) {
  return {{"interval_us", to_microseconds(rates.interval)},
          {"reads", json_of(rates.reads)},
          {"writes", json_of(rates.writes)},
          {"trims_per_second", rates.trims_per_second},
          {"requests_per_batch", rates.requests_per_batch},
          {"errors", rates.errors}};
}

}  // namespace vramswap::swapctl
