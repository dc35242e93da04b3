#include "daemon/control/io_figures_json.hpp"

#include <nlohmann/json.hpp>
#include <stdexcept>

namespace vramswap::control {
namespace {

using Json = nlohmann::json;

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

void to_json(Json& json, const IoFigures& figures) {
  json = {{"counted_for_ns", figures.counted_for.count()},
          {"reads", json_of(figures.reads)},
          {"writes", json_of(figures.writes)},
          {"trims", figures.trims},
          {"trimmed_pages", figures.trimmed_pages},
          {"errors", figures.errors},
          {"batches", figures.batches},
          {"batched_requests", figures.batched_requests},
          {"largest_batch", figures.largest_batch}};
}

void from_json(const Json& json, IoFigures& figures) {
  figures = {.counted_for = std::chrono::nanoseconds(json.at("counted_for_ns").get<std::int64_t>()),
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
