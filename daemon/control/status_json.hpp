// The parts of a status that the control protocol and `vramswap status --json` write alike. They
// differ on purpose in the rest: the protocol carries whole histograms, in nanoseconds, and empty
// strings; the report has percentiles, null for what is absent, and keeps the order of the fields,
// which is why the JSON type is a parameter.
#pragma once

#include "daemon/control/protocol.hpp"

namespace vramswap::control {

template <class Json>
Json segment_json(const SegmentStatus& segment) {
  return {{"device", segment.device},
          {"size_bytes", segment.size_bytes},
          {"used_bytes", segment.used_bytes},
          {"priority", segment.priority},
          {"backend", to_string(segment.backend)},
          {"store", segment.store},
          {"gpu_uuid", segment.gpu_uuid},
          {"state", segment.state},
          {"generation", segment.generation},
          {"lost_pages", segment.lost_pages},
          {"corrupt_pages", segment.corrupt_pages},
          {"lost_at", segment.lost_at},
          {"place", segment.place}};
}

template <class Json>
Json loan_json(const Loan& loan) {
  return {{"bytes", loan.bytes ? Json(*loan.bytes) : Json()},
          {"is_held", loan.is_held},
          {"purpose", loan.purpose},
          {"since", loan.since}};
}

// Without "io".
template <class Json>
Json worker_json(const WorkerStatus& worker) {
  return {{"store", worker.store},       {"gpu_uuid", worker.gpu_uuid},
          {"pid", worker.pid},           {"state", worker.state},
          {"restarts", worker.restarts}, {"last_pause_ms", worker.last_pause_ms},
          {"problem", worker.problem},   {"reserve_bytes", worker.reserve_bytes},
          {"notes", worker.notes}};
}

// Adds the plain counters of `stats` to `json`.
template <class Json>
void add_counters(Json& json, const IoStats& stats) {
  json["trims"] = stats.trims;
  json["trimmed_pages"] = stats.trimmed_pages;
  json["errors"] = stats.errors;
  json["batches"] = stats.batches;
  json["batched_requests"] = stats.batched_requests;
  json["largest_batch"] = stats.largest_batch;
}

}  // namespace vramswap::control
