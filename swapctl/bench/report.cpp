#include "swapctl/bench/report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "daemon/base/json.hpp"
#include "daemon/control/size.hpp"

namespace vramswap::swapctl {
namespace {

using Json = nlohmann::ordered_json;  // as written here, not by name

constexpr std::size_t kColumns = 11;
using Row = std::array<std::string, kColumns>;

const Row kHeading = {"NAME",      "KIND",       "SIZE",   "USED",   "READ-GB/s", "WRITE-GB/s",
                      "READ-IOPS", "WRITE-IOPS", "MIN-us", "AVG-us", "MAX-us"};
constexpr std::size_t kTextColumns = 2;  // the first ones; the others are numbers

std::string number(const std::optional<double>& value, double unit = 1) {
  return value ? three_digits(*value / unit) : "-";
}

Row row_of(const Measured& measured) {
  const auto& target = measured.target;
  const auto& latency = measured.single_read;
  const auto time = [&](double Latency::*member) {
    return latency ? three_digits((*latency).*member) : "-";
  };
  return {target.name,
          target.kind,
          control::format_bytes(target.size_bytes),
          control::format_bytes(target.used_bytes),
          number(measured.sequential_read, 1e9),
          number(measured.sequential_write, 1e9),
          number(measured.random_read),
          number(measured.random_write),
          time(&Latency::min),
          time(&Latency::average),
          time(&Latency::max)};
}

std::string format_row(const Row& row, const std::array<std::size_t, kColumns>& widths) {
  std::string line;
  for (std::size_t column = 0; column < kColumns; ++column) {
    if (column != 0) line += ' ';
    line += column < kTextColumns ? fmt::format("{:<{}}", row[column], widths[column])
                                  : fmt::format("{:>{}}", row[column], widths[column]);
  }
  return line + '\n';
}

Json value_or_null(const std::optional<double>& value) {
  return value ? Json(*value) : Json();
}

Json to_json(const Measured& measured) {
  Json json = {{"name", measured.target.name},
               {"kind", measured.target.kind},
               {"size_bytes", measured.target.size_bytes},
               {"used_bytes", measured.target.used_bytes},
               {"sequential_read_bytes_per_second", value_or_null(measured.sequential_read)},
               {"sequential_write_bytes_per_second", value_or_null(measured.sequential_write)},
               {"random_read_iops", value_or_null(measured.random_read)},
               {"random_write_iops", value_or_null(measured.random_write)},
               {"single_read_us", nullptr},
               {"problem", measured.problem.empty() ? Json() : Json(measured.problem)}};
  if (const auto& latency = measured.single_read) {
    json["single_read_us"] = {
        {"min", latency->min}, {"average", latency->average}, {"max", latency->max}};
  }
  return json;
}

}  // namespace

std::string three_digits(double value) {
  return value < 100 ? fmt::format("{:.3g}", value) : fmt::format("{:.0f}", value);
}

std::string bench_table(const std::vector<Measured>& rows) {
  std::vector<Row> lines = {kHeading};
  std::ranges::transform(rows, std::back_inserter(lines), row_of);
  std::array<std::size_t, kColumns> widths{};
  for (const Row& line : lines) {
    for (std::size_t column = 0; column < kColumns; ++column) {
      widths[column] = std::max(widths[column], line[column].size());
    }
  }
  std::string text;
  for (const Row& line : lines) text += format_row(line, widths);
  return text;
}

std::string bench_json(const std::vector<Measured>& rows, const TestPlan& plan) {
  Json json = {{"version", kBenchJsonVersion},
               {"seconds", std::chrono::duration<double>(plan.duration).count()},
               {"single_reads", plan.single_reads},
               {"devices", Json::array()}};
  for (const Measured& measured : rows) json["devices"].push_back(to_json(measured));
  // A path need not be UTF-8.
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + '\n';
}

}  // namespace vramswap::swapctl
