#include "swapctl/prometheus.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "daemon/base/page_size.hpp"
#include "daemon/control/segment_states.hpp"

namespace vramswap::swapctl {
namespace {

using control::SegmentStatus;
using control::Status;
using control::WorkerStatus;

// The boundaries of a histogram in Prometheus must never change, so there are few: the powers of
// two from 4 us to 17 s. Each is also a boundary of LatencyHistogram, so the counts are exact.
constexpr unsigned kFirstBit = 12;
constexpr unsigned kLastBit = 34;

using Labels = std::vector<std::pair<const char*, std::string_view>>;

std::string escape(std::string_view value) {
  std::string text;
  for (const char c : value) {
    if (c == '\\' || c == '"') text += '\\';
    text += c == '\n' ? std::string("\\n") : std::string(1, c);
  }
  return text;
}

// {device="/dev/nbd1000"}. To Prometheus an empty label is none.
std::string braced(const Labels& labels) {
  std::string text;
  for (const auto& [name, value] : labels) {
    if (value.empty()) continue;
    text += fmt::format("{}{}=\"{}\"", text.empty() ? "" : ",", name, escape(value));
  }
  return text.empty() ? "" : '{' + text + '}';
}

class Exposition {
 public:
  // Each name once, before its samples.
  void describe(std::string_view name, std::string_view type, std::string_view help) {
    name_ = name;
    text_ += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
  }
  template <class Number>
  void add(const Labels& labels, Number value, std::string_view suffix = "") {
    text_ += fmt::format("{}{}{} {}\n", name_, suffix, braced(labels), value);
  }
  std::string take() && { return std::move(text_); }

 private:
  std::string name_;
  std::string text_;
};

double to_seconds(std::uint64_t nanoseconds) {
  return static_cast<double>(nanoseconds) / 1e9;
}

// Counts each request with the middle of its bucket, which is at most 1/32 off.
double sum_in_seconds(const LatencyHistogram& latency) {
  double nanoseconds = 0;
  const auto max = static_cast<std::uint64_t>(latency.max().count());
  for (std::size_t i = 0; i < LatencyHistogram::kBuckets; ++i) {
    if (latency.count(i) == 0) continue;
    const std::uint64_t low = i == 0 ? 0 : LatencyHistogram::upper_bound(i - 1) + 1;
    const std::uint64_t high = std::min(LatencyHistogram::upper_bound(i), std::max(max, low));
    nanoseconds += static_cast<double>(latency.count(i)) *
                   ((static_cast<double>(low) + static_cast<double>(high)) / 2);
  }
  return nanoseconds / 1e9;
}

void add_histogram(Exposition& out, const Labels& labels, const LatencyHistogram& latency) {
  const auto bucket = [&](std::string_view limit, std::uint64_t count) {
    Labels with_limit = labels;
    with_limit.emplace_back("le", limit);
    out.add(with_limit, count, "_bucket");
  };
  std::uint64_t count = 0;
  std::size_t next = 0;
  for (unsigned bit = kFirstBit; bit <= kLastBit; ++bit) {
    const std::uint64_t limit = (std::uint64_t{1} << bit) - 1;
    for (; LatencyHistogram::upper_bound(next) <= limit; ++next) count += latency.count(next);
    bucket(fmt::format("{}", to_seconds(limit)), count);
  }
  bucket("+Inf", latency.count());
  out.add(labels, sum_in_seconds(latency), "_sum");
  out.add(labels, latency.count(), "_count");
}

void add_segments(Exposition& out, const std::vector<SegmentStatus>& segments) {
  const auto each = [&](const char* name, const char* type, const char* help, auto value) {
    out.describe(name, type, help);
    for (const auto& segment : segments) {
      if (segment.device.empty()) continue;
      out.add({{"device", segment.device}, {"gpu_uuid", segment.gpu_uuid}}, segment.*value);
    }
  };
  each("vramswap_size_bytes", "gauge", "Size of the swap area.", &SegmentStatus::size_bytes);
  each("vramswap_used_bytes", "gauge", "Bytes in use in the swap area.",
       &SegmentStatus::used_bytes);
  each("vramswap_lost_pages_total", "counter", "Pages whose content was lost.",
       &SegmentStatus::lost_pages);
  each("vramswap_corrupt_pages_total", "counter",
       "Lost pages whose bytes differed from those written.", &SegmentStatus::corrupt_pages);
  out.describe("vramswap_segment_state", "gauge", "1 for the state that the swap area is in.");
  for (const auto& segment : segments) {
    if (segment.device.empty()) continue;
    const auto add = [&](std::string_view state) {
      out.add({{"device", segment.device}, {"state", state}}, segment.state == state ? 1 : 0);
    };
    std::ranges::for_each(control::kSegmentStates, add);
    // A state of a later daemon.
    if (!std::ranges::count(control::kSegmentStates, segment.state)) add(segment.state);
  }
  out.describe("vramswap_segment_place", "gauge", "1 for the place where the pages are.");
  for (const auto& segment : segments) {
    if (segment.device.empty()) continue;
    for (const std::string_view place : control::kSegmentPlaces) {
      out.add({{"device", segment.device}, {"place", place}}, segment.place == place ? 1 : 0);
    }
  }
}

Labels labels_of(const WorkerStatus& worker) {
  return {{"store", worker.store}, {"gpu_uuid", worker.gpu_uuid}};
}

void add_workers(Exposition& out, const std::vector<WorkerStatus>& workers) {
  const auto each = [&](const char* name, const char* type, const char* help, auto value) {
    out.describe(name, type, help);
    for (const auto& worker : workers) out.add(labels_of(worker), value(worker));
  };
  each("vramswap_worker_running", "gauge", "Whether there is a worker process.",
       [](const auto& worker) { return worker.pid == 0 ? 0 : 1; });
  each("vramswap_worker_problem", "gauge", "Whether the last attempt to replace a worker failed.",
       [](const auto& worker) { return worker.problem.empty() ? 0 : 1; });
  each("vramswap_worker_restarts_total", "counter", "Workers that were replaced.",
       [](const auto& worker) { return worker.restarts; });
  each("vramswap_worker_last_pause_seconds", "gauge",
       "Time from the last death of a worker until its successor served.", [](const auto& worker) {
         return to_seconds(static_cast<std::uint64_t>(worker.last_pause_ms) * 1'000'000);
       });
  each("vramswap_reserve_bytes", "gauge", "VRAM that is set aside for the next worker.",
       [](const auto& worker) { return worker.reserve_bytes; });
}

// Of the workers that have answered. `add(labels, io)` gets labels without a direction.
template <class Add>
void for_each_io(const std::vector<WorkerStatus>& workers, const Add& add) {
  for (const auto& worker : workers) {
    if (worker.io) add(labels_of(worker), *worker.io);
  }
}

Labels with_direction(Labels labels, std::string_view direction) {
  labels.emplace_back("direction", direction);
  return labels;
}

void add_io(Exposition& out, const std::vector<WorkerStatus>& workers) {
  out.describe("vramswap_requests_total", "counter",
               "Requests that were answered without an error.");
  for_each_io(workers, [&](const Labels& labels, const control::IoStats& io) {
    out.add(with_direction(labels, "read"), io.reads.requests);
    out.add(with_direction(labels, "write"), io.writes.requests);
    out.add(with_direction(labels, "trim"), io.trims);
  });
  out.describe("vramswap_request_bytes_total", "counter",
               "Bytes that these requests read, wrote or trimmed.");
  for_each_io(workers, [&](const Labels& labels, const control::IoStats& io) {
    out.add(with_direction(labels, "read"), io.reads.pages * kPageBytes);
    out.add(with_direction(labels, "write"), io.writes.pages * kPageBytes);
    out.add(with_direction(labels, "trim"), io.trimmed_pages * kPageBytes);
  });
  out.describe("vramswap_request_errors_total", "counter",
               "Requests that were answered with an error.");
  for_each_io(workers, [&](const Labels& labels, const control::IoStats& io) {
    out.add(labels, io.errors);
  });
  out.describe("vramswap_request_duration_seconds", "histogram",
               "Time from receiving a request to sending its reply. The sum is at most 1/32 off.");
  for_each_io(workers, [&](const Labels& labels, const control::IoStats& io) {
    add_histogram(out, with_direction(labels, "read"), io.reads.latency);
    add_histogram(out, with_direction(labels, "write"), io.writes.latency);
  });
}

}  // namespace

std::string status_prometheus(const std::optional<Status>& status) {
  Exposition out;
  out.describe("vramswap_up", "gauge", "Whether the daemon answers.");
  out.add({}, status ? 1 : 0);
  if (!status) return std::move(out).take();
  out.describe("vramswap_info", "gauge", "The version of the daemon.");
  out.add({{"version", status->version}}, 1);
  add_segments(out, status->segments);
  out.describe("vramswap_lent_bytes", "gauge",
               "VRAM that is lent to other programs, on all cards.");
  out.add({}, status->lent_bytes);
  add_workers(out, status->workers);
  add_io(out, status->workers);
  return std::move(out).take();
}

}  // namespace vramswap::swapctl
