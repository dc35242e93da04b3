#include "swapctl/status_report.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <initializer_list>
#include <set>
#include <vector>

#include "daemon/base/json.hpp"
#include "daemon/control/status_json.hpp"
#include "swapctl/io_report.hpp"

namespace vramswap::swapctl {
namespace {

using control::SegmentStatus;
using control::Status;
using control::WorkerStatus;
using Json = nlohmann::ordered_json;  // as written here, not by name

constexpr std::size_t kColumns = 6;
using Row = std::array<std::string, kColumns>;

const Row kHeading = {"NAME", "SIZE", "USED", "PRIO", "STORE", "STATE"};
constexpr std::array<bool, kColumns> kIsNumber = {false, true, true, true, false, false};

struct Total {
  std::uint64_t size_bytes = 0;
  std::uint64_t used_bytes = 0;
};

Total total_of(const std::vector<SegmentStatus>& segments) {
  Total total;
  for (const auto& segment : segments) {
    total.size_bytes += segment.size_bytes;
    total.used_bytes += segment.used_bytes;
  }
  return total;
}

bool on_several_gpus(const std::vector<SegmentStatus>& segments) {
  std::set<std::string> uuids;
  for (const auto& segment : segments) uuids.insert(segment.gpu_uuid);
  uuids.erase("");
  return uuids.size() > 1;
}

std::string store_name(const SegmentStatus& segment, bool several_gpus) {
  const bool is_away = segment.backend == control::Backend::vram && segment.place == "host memory";
  if (is_away) return "host memory";
  if (!several_gpus || segment.gpu_uuid.empty()) return segment.store;
  // "GPU-" and eight digits.
  return fmt::format("{} {}", segment.store, segment.gpu_uuid.substr(0, 12));
}

std::vector<Row> rows_of(const Status& status) {
  std::vector<Row> rows = {kHeading};
  const bool several_gpus = on_several_gpus(status.segments);
  for (const auto& segment : status.segments) {
    rows.push_back({segment.device.empty() ? "-" : segment.device,
                    control::format_bytes(segment.size_bytes),
                    control::format_bytes(segment.used_bytes), fmt::format("{}", segment.priority),
                    store_name(segment, several_gpus), segment.state});
  }
  const Total total = total_of(status.segments);
  rows.push_back({"total", control::format_bytes(total.size_bytes),
                  control::format_bytes(total.used_bytes), "", "", ""});
  return rows;
}

std::string format_row(const Row& row, const std::array<std::size_t, kColumns>& widths) {
  std::string line;
  for (std::size_t column = 0; column < kColumns; ++column) {
    const auto& cell = row[column];
    if (column != 0) line += ' ';
    line += kIsNumber[column] ? fmt::format("{:>{}}", cell, widths[column])
                              : fmt::format("{:<{}}", cell, widths[column]);
  }
  line.erase(line.find_last_not_of(' ') + 1);
  return line + '\n';
}

// Returns `json` with its empty fields among `names` replaced by null.
Json with_nulls(Json json, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (json.at(name) == "") json[name] = nullptr;
  }
  return json;
}

Json to_json(const SegmentStatus& segment) {
  return with_nulls(control::segment_json<Json>(segment), {"device", "gpu_uuid", "place"});
}

Json to_json(const WorkerStatus& worker) {
  Json json = with_nulls(control::worker_json<Json>(worker), {"gpu_uuid", "problem"});
  json["io"] = worker.io ? totals_json(*worker.io) : Json();
  return json;
}

const IoRates* rates_of(const Rates& rates, std::size_t worker) {
  return worker < rates.size() && rates[worker] ? &*rates[worker] : nullptr;
}

std::string io_text(const WorkerStatus& worker, const IoRates* rates) {
  if (rates != nullptr) return rates_text(*rates);
  if (worker.io) return totals_text(*worker.io);
  return worker.pid == 0 ? "" : "  no statistics: the worker did not answer\n";
}

// A line for each worker, and the text of `more` for its number.
template <class More>
std::string worker_lines(const Status& status, const More& more) {
  std::string text;
  for (std::size_t i = 0; i < status.workers.size(); ++i) {
    const auto& worker = status.workers[i];
    text += fmt::format("worker {} of {}: {}", worker.pid, worker.store, worker.state);
    if (worker.restarts > 0) {
      text += fmt::format(", {} restart{}, last pause {} ms", worker.restarts,
                          worker.restarts == 1 ? "" : "s", worker.last_pause_ms);
    }
    if (worker.reserve_bytes > 0) {
      text += fmt::format(", {} of VRAM set aside", control::format_bytes(worker.reserve_bytes));
    }
    text += '\n';
    if (!worker.problem.empty()) text += fmt::format("  cannot be replaced: {}\n", worker.problem);
    for (const std::string& note : worker.notes) text += fmt::format("  {}\n", note);
    text += more(i);
  }
  return text;
}

// Other users write it, and root's terminal shows it: nothing in it may be a control character, not
// even one of those that UTF-8 begins with 0xc2.
std::string printable(std::string text) {
  const auto code = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool is_c1 = code(i) == 0xc2 && i + 1 < text.size() && code(i + 1) < 0xa0;
    if (is_c1) text.erase(i, 1);
    if (is_c1 || code(i) < 0x20 || code(i) == 0x7f) text[i] = '?';
  }
  return text;
}

// One for each loan and each segment that has lost pages, and the notes.
std::string closing_lines(const Status& status) {
  std::string text;
  if (status.lent_bytes > 0 || !status.loans.empty()) {
    text += fmt::format("{} of VRAM are lent\n", control::format_bytes(status.lent_bytes));
  }
  for (const control::Loan& loan : status.loans) {
    text += fmt::format("  {} to {} since {:%F %T}\n",
                        loan.bytes ? control::format_bytes(*loan.bytes) : "all",
                        printable(loan.purpose), fmt::localtime(loan.since));
  }
  for (const auto& segment : status.segments) {
    if (segment.lost_pages == 0) continue;
    const auto corrupt = segment.corrupt_pages == 0
                             ? ""
                             : fmt::format(" ({} with wrong bytes)", segment.corrupt_pages);
    text += fmt::format("{}: {} pages lost{}, last at {:%F %T}, generation {}\n", segment.device,
                        segment.lost_pages, corrupt, fmt::localtime(segment.lost_at),
                        segment.generation);
  }
  for (const std::string& note : status.notes) text += fmt::format("{}\n", note);
  return text;
}

std::string segment_lines(const Status& status) {
  const auto rows = rows_of(status);
  std::array<std::size_t, kColumns> widths{};
  for (const auto& row : rows) {
    for (std::size_t column = 0; column < kColumns; ++column) {
      widths[column] = std::max(widths[column], row[column].size());
    }
  }
  std::string text;
  for (const auto& row : rows) text += format_row(row, widths);
  return text;
}

// "rates" only where they are asked for.
Json json_of(const std::optional<Status>& status, const Rates* rates) {
  const auto segments = status ? status->segments : std::vector<SegmentStatus>{};
  const Total total = total_of(segments);
  Json json = {{"version", kStatusJsonVersion}, {"daemon", nullptr}, {"segments", Json::array()}};
  if (status) json["daemon"] = {{"version", status->version}, {"pid", status->supervisor_pid}};
  for (const auto& segment : segments) json["segments"].push_back(to_json(segment));
  json["workers"] = Json::array();
  if (status) {
    for (std::size_t i = 0; i < status->workers.size(); ++i) {
      Json& worker = json["workers"].emplace_back(to_json(status->workers[i]));
      if (rates == nullptr) continue;
      const IoRates* known = rates_of(*rates, i);
      worker["rates"] = known != nullptr ? rates_json(*known) : Json();
    }
  }
  json["loans"] = Json::array();
  if (status) {
    for (const auto& loan : status->loans) json["loans"].push_back(control::loan_json<Json>(loan));
  }
  json["lent_bytes"] = status ? status->lent_bytes : 0;
  json["notes"] = status ? status->notes : std::vector<std::string>{};
  json["total"] = {{"size_bytes", total.size_bytes}, {"used_bytes", total.used_bytes}};
  return json;
}

}  // namespace

std::string status_table(const Status& status) {
  const auto nothing = [](std::size_t) { return ""; };
  return segment_lines(status) + worker_lines(status, nothing) + closing_lines(status);
}

std::string status_text(const Status& status, const Rates& rates) {
  const auto stats = [&](std::size_t worker) {
    return io_text(status.workers[worker], rates_of(rates, worker));
  };
  return segment_lines(status) + worker_lines(status, stats) + closing_lines(status);
}

std::string status_json(const std::optional<Status>& status) {
  return json_of(status, nullptr).dump(2) + '\n';
}

std::string status_json_line(const std::optional<Status>& status, const Rates& rates) {
  return json_of(status, &rates).dump() + '\n';
}

}  // namespace vramswap::swapctl
