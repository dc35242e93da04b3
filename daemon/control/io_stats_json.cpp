#include "daemon/control/io_stats_json.hpp"

#include <stdexcept>

#include "daemon/base/json.hpp"
#include "daemon/control/status_json.hpp"

namespace vramswap::control {
namespace {

Json buckets_of(const LatencyHistogram& histogram) {
  Json list = Json::array();
  for (std::size_t bucket = 0; bucket < LatencyHistogram::kBuckets; ++bucket) {
    if (histogram.count(bucket) == 0) continue;
    list.push_back(bucket);
    list.push_back(histogram.count(bucket));
  }
  return list;
}

LatencyHistogram histogram_from(const Json& buckets, std::int64_t max_ns) {
  LatencyHistogram histogram;
  for (std::size_t i = 0; i < buckets.size(); i += 2) {
    const auto bucket = buckets.at(i).get<std::size_t>();
    if (bucket >= LatencyHistogram::kBuckets) throw std::out_of_range("a bucket of latencies");
    histogram.add(bucket, buckets.at(i + 1).get<std::uint64_t>());
  }
  histogram.raise_max(std::chrono::nanoseconds(max_ns));
  return histogram;
}

Json json_of(const Transfers& transfers) {
  return {{"requests", transfers.requests},
          {"pages", transfers.pages},
          {"max_ns", transfers.latency.max().count()},
          {"buckets", buckets_of(transfers.latency)}};
}

Transfers transfers_from(const Json& json) {
  return {.requests = json.at("requests"),
          .pages = json.at("pages"),
          .latency = histogram_from(json.at("buckets"), json.at("max_ns"))};
}

}  // namespace

void to_json(Json& json, const IoStats& stats) {
  json = {{"counted_for_ns", stats.counted_for.count()},
          {"reads", json_of(stats.reads)},
          {"writes", json_of(stats.writes)}};
  add_counters(json, stats);
}

void from_json(const Json& json, IoStats& stats) {
  stats = {.counted_for = std::chrono::nanoseconds(json.at("counted_for_ns").get<std::int64_t>()),
           .reads = transfers_from(json.at("reads")),
           .writes = transfers_from(json.at("writes")),
           .trims = json.at("trims"),
           .trimmed_pages = json.at("trimmed_pages"),
           .errors = json.at("errors"),
           .batches = json.at("batches"),
           .batched_requests = json.at("batched_requests"),
           .largest_batch = json.at("largest_batch")};
}

}  // namespace vramswap::control
