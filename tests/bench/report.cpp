#include "tests/bench/report.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace vramswap::bench {
namespace {

using Row = std::vector<std::string>;

const char* name_of(Metric metric) {
  switch (metric) {
    case Metric::throughput:
      return "throughput";
    case Metric::p50:
      return "p50";
    case Metric::p99:
      return "p99";
    case Metric::cpu_per_page:
      return "server CPU a page";
  }
  return "";
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

template <class Field>
double median_of(const std::vector<Measurement>& rounds, Field field) {
  std::vector<double> values;
  for (const auto& round : rounds) values.push_back(round.*field);
  return median(std::move(values));
}

std::string count_text(double value) {
  if (value >= 1e6) return fmt::format("{:.2f}M", value / 1e6);
  if (value >= 1e4) return fmt::format("{:.0f}k", value / 1e3);
  return fmt::format("{:.1f}k", value / 1e3);
}

// IOPS, GB/s, p50, p99, CPU.
Row columns_of(const std::vector<Measurement>& rounds) {
  return {count_text(median_of(rounds, &Measurement::operations_per_second)),
          fmt::format("{:.2f}", median_of(rounds, &Measurement::bytes_per_second) / 1e9),
          fmt::format("{:.1f}", median_of(rounds, &Measurement::p50_us)),
          fmt::format("{:.1f}", median_of(rounds, &Measurement::p99_us)),
          fmt::format("{:.2f}", median_of(rounds, &Measurement::cpu_us_per_page))};
}

std::string one_server(const char* name, const std::vector<Measurement>& rounds) {
  const Row columns = columns_of(rounds);
  return fmt::format("{} {} op/s, {} GB/s, p50 {} p99 {} us, CPU {} us/page (load {:.2f} us/op)",
                     name, columns[0], columns[1], columns[2], columns[3], columns[4],
                     median_of(rounds, &Measurement::load_us_per_request));
}

std::string ratio_text(double ratio) {
  return fmt::format("{:.2f}x", ratio);
}

// The first row is the header. The first column is text, the others are numbers.
std::string format_table(const std::vector<Row>& rows, TableStyle style) {
  const bool markdown = style == TableStyle::markdown;
  std::vector<std::size_t> widths(rows.front().size());
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (markdown) text += "|";
    for (std::size_t j = 0; j < widths.size(); ++j) {
      if (markdown) {
        text += fmt::format(" {} |", rows[i][j]);
      } else if (j == 0) {
        text += fmt::format("{:<{}}", rows[i][j], widths[j]);
      } else {
        text += fmt::format("  {:>{}}", rows[i][j], widths[j]);
      }
    }
    text += "\n";
    if (!markdown || i > 0) continue;
    text += "|---|";
    for (std::size_t j = 1; j < widths.size(); ++j) text += "--:|";
    text += "\n";
  }
  return text;
}

}  // namespace

double CellResult::ratio(Metric metric) const {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < engine.size(); ++i) {
    ratios.push_back(engine[i].value(metric) / per_request[i].value(metric));
  }
  return median(std::move(ratios));
}

std::string one_line(const CellResult& result) {
  std::string text = result.cell.name + ": " + one_server("engine", result.engine);
  if (result.per_request.empty()) return text;
  return text + "; " + one_server("per-request", result.per_request) + "; " +
         ratio_text(result.ratio(Metric::throughput));
}

std::string measurements_table(const std::vector<CellResult>& results, TableStyle style) {
  if (results.empty()) return "";
  const bool compared = !results.front().per_request.empty();
  std::vector<Row> rows{{"load", "op/s", "GB/s", "p50 us", "p99 us", "CPU us/page"}};
  if (compared) rows.front().emplace_back("ratio");
  for (const auto& result : results) {
    Row row{result.cell.name};
    std::ranges::move(columns_of(result.engine), std::back_inserter(row));
    if (compared) {
      const Row others = columns_of(result.per_request);
      for (std::size_t i = 0; i < others.size(); ++i) row[i + 1] += " / " + others[i];
      row.push_back(ratio_text(result.ratio(Metric::throughput)));
    }
    rows.push_back(std::move(row));
  }
  return format_table(rows, style);
}

std::string targets_table(const std::vector<CellResult>& results, TableStyle style) {
  std::vector<Row> rows{{"load", "what", "target", "ratio", ""}};
  for (const auto& result : results) {
    for (const Target& target : targets_of(result.cell)) {
      const double ratio = result.ratio(target.metric);
      const char* bound = target.metric == Metric::throughput ? ">=" : "<=";
      rows.push_back({result.cell.name, name_of(target.metric),
                      fmt::format("{} {}", bound, ratio_text(target.ratio)), ratio_text(ratio),
                      target.is_met(ratio) ? "met" : "missed"});
    }
  }
  return format_table(rows, style);
}

std::size_t count_missed_targets(const std::vector<CellResult>& results) {
  std::size_t missed = 0;
  for (const auto& result : results) {
    for (const Target& target : targets_of(result.cell)) {
      if (!target.is_met(result.ratio(target.metric))) ++missed;
    }
  }
  return missed;
}

}  // namespace vramswap::bench
