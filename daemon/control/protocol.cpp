#include "daemon/control/protocol.hpp"

#include <fmt/format.h>

#include <limits>
#include <stdexcept>
#include <utility>

#include "daemon/base/json.hpp"
#include "daemon/control/io_stats_json.hpp"
#include "daemon/control/status_json.hpp"

namespace vramswap::control {
namespace {

template <class... Handlers>
struct Overloaded : Handlers... {
  using Handlers::operator()...;
};

Json message(std::string_view type) {
  return {{"protocol", kProtocolVersion}, {"type", type}};
}

Json loans_json(const std::vector<Loan>& loans) {
  Json json = Json::array();
  for (const Loan& loan : loans) json.push_back(loan_json<Json>(loan));
  return json;
}

Json to_json(const WorkerStatus& worker) {
  Json json = worker_json<Json>(worker);
  json["io"] = worker.io ? Json(*worker.io) : Json();
  return json;
}

// -1 is no group.
constexpr gid_t kMaxGroup = std::numeric_limits<gid_t>::max() - 1;

// A value that is well formed but not allowed. Thrown inside decoding only, as nlohmann's own
// type errors are, so that one catch turns both into an Error.
struct BadValue {
  Error error;
};

template <class T>
T unwrap(Result<T> result) {
  if (!result) throw BadValue{std::move(result.error())};
  return *std::move(result);
}

// Numbers are checked here: nlohmann converts out-of-range ones silently.
template <class Integer>
Integer integer(const Json& json, const char* key, Integer low, Integer high) {
  const Json& value = json.at(key);
  const bool fits = value.is_number_unsigned()
                        ? std::cmp_less_equal(value.get<std::uint64_t>(), high) &&
                              std::cmp_greater_equal(value.get<std::uint64_t>(), low)
                        : value.is_number_integer() &&
                              std::cmp_less_equal(value.get<std::int64_t>(), high) &&
                              std::cmp_greater_equal(value.get<std::int64_t>(), low);
  if (!fits) throw BadValue{{fmt::format("{}: must be a whole number {}..{}", key, low, high)}};
  return value.get<Integer>();
}

std::uint64_t byte_count(const Json& json, const char* key) {
  return integer<std::uint64_t>(json, key, 0, std::uint64_t{1} << 63);
}

UpRequest up_from(const Json& json) {
  UpRequest up;
  up.size = unwrap(parse_size(json.at("size").get<std::string>()));
  up.priority = integer(json, "priority", kMinPriority, kMaxPriority);
  up.backend = unwrap(parse_backend(json.at("backend").get<std::string>()));
  up.gpus = json.at("gpus").get<std::vector<std::string>>();
  up.segment_size_bytes = byte_count(json, "segment_size_bytes");
  up.connections = integer(json, "connections", 0U, kMaxConnections);
  up.reconnect_timeout =
      std::chrono::seconds(integer<std::int64_t>(json, "reconnect_timeout_s", 1, 86400));
  if (!json.at("doze_after_s").is_null()) {
    up.doze_after = std::chrono::seconds(integer<std::int64_t>(json, "doze_after_s", 0, 86400));
  }
  up.hang_timeout = std::chrono::seconds(integer<std::int64_t>(json, "hang_timeout_s", 1, 3600));
  // An earlier version has none in the description of its pool.
  const auto group = json.find("lend_group");
  if (group != json.end() && !group->is_null()) {
    up.lend_group = integer<gid_t>(json, "lend_group", 0, kMaxGroup);
  }
  return up;
}

std::optional<std::uint64_t> optional_bytes(const Json& json, const char* key) {
  if (json.at(key).is_null()) return std::nullopt;
  return byte_count(json, key);
}

std::vector<Loan> loans_from(const Json& json) {
  std::vector<Loan> loans;
  for (const Json& loan : json.value("loans", Json::array())) {
    loans.push_back({.bytes = optional_bytes(loan, "bytes"),
                     .is_held = loan.at("is_held"),
                     .purpose = loan.at("purpose"),
                     .since = loan.at("since")});
  }
  return loans;
}

LendRequest lend_from(const Json& json) {
  LendRequest lend;
  lend.bytes = optional_bytes(json, "bytes");
  lend.is_held = json.at("is_held").get<bool>();
  if (!json.at("wait_s").is_null()) {
    lend.wait = std::chrono::seconds(integer<std::int64_t>(json, "wait_s", 0, 86400));
  }
  lend.purpose = json.at("purpose").get<std::string>();
  // Every user reads it in the status, and the supervisor keeps it.
  if (lend.purpose.size() > kMaxPurposeBytes) {
    throw BadValue{{fmt::format("purpose: must be at most {} bytes", kMaxPurposeBytes)}};
  }
  return lend;
}

SegmentStatus segment_from(const Json& json) {
  return {.device = json.at("device"),
          .size_bytes = byte_count(json, "size_bytes"),
          .used_bytes = byte_count(json, "used_bytes"),
          .priority = json.at("priority"),
          .backend = unwrap(parse_backend(json.at("backend").get<std::string>())),
          .store = json.at("store"),
          .gpu_uuid = json.at("gpu_uuid"),
          .state = json.at("state"),
          .generation = json.at("generation"),
          .lost_pages = byte_count(json, "lost_pages"),
          .corrupt_pages = byte_count(json, "corrupt_pages"),
          .lost_at = json.at("lost_at"),
          .place = json.value("place", "")};
}

std::optional<IoStats> stats_from(const Json& json) {
  const auto found = json.find("io");
  if (found == json.end() || found->is_null()) return std::nullopt;
  return found->get<IoStats>();
}

WorkerStatus worker_from(const Json& json) {
  return {.store = json.at("store"),
          .gpu_uuid = json.at("gpu_uuid"),
          .pid = json.at("pid"),
          .state = json.at("state"),
          .restarts = json.at("restarts"),
          .last_pause_ms = json.at("last_pause_ms"),
          .problem = json.at("problem"),
          .reserve_bytes = json.value("reserve_bytes", std::uint64_t{0}),
          .notes = json.value("notes", std::vector<std::string>{}),
          .io = stats_from(json)};
}

Status status_from(const Json& json) {
  Status status{.version = json.at("version"),
                .supervisor_pid = json.at("supervisor_pid"),
                .segments = {},
                .workers = {},
                .notes = json.value("notes", std::vector<std::string>{}),
                .loans = loans_from(json),
                .lent_bytes = json.contains("lent_bytes") ? byte_count(json, "lent_bytes") : 0};
  for (const Json& segment : json.at("segments")) status.segments.push_back(segment_from(segment));
  for (const Json& worker : json.at("workers")) status.workers.push_back(worker_from(worker));
  return status;
}

Request request_from(const Json& json) {
  const auto type = json.at("type").get<std::string>();
  if (type == "up") return up_from(json);
  if (type == "down") return DownRequest{.force = json.at("force").get<bool>()};
  if (type == "status") return StatusRequest{};
  if (type == "reload") return ReloadRequest{};
  if (type == "lend") return lend_from(json);
  if (type == "take-back") return TakeBackRequest{};
  throw BadValue{{fmt::format("unknown request '{}'", type)}};
}

Reply reply_from(const Json& json) {
  const auto type = json.at("type").get<std::string>();
  if (type == "progress") {
    return Progress{json.at("device"), byte_count(json, "done_bytes"),
                    byte_count(json, "total_bytes")};
  }
  if (type == "status") return status_from(json);
  if (type == "done") return Done{};
  if (type == "lent") {
    return Lent{byte_count(json, "freed_bytes"), byte_count(json, "missing_bytes"),
                json.at("problem")};
  }
  if (type == "failure") return Failure{json.at("message")};
  throw BadValue{{fmt::format("unknown reply '{}'", type)}};
}

template <class T>
Result<T> decode(std::string_view line, T (*from)(const Json&)) {
  try {
    const Json json = parse_message_json(line);
    if (const int version = json.at("protocol"); version != kProtocolVersion) {
      return fail(
          fmt::format("the other side speaks control protocol {}, this one {}: use vramswap and "
                      "vramswapd of the same version",
                      version, kProtocolVersion));
    }
    return from(json);
  } catch (const Json::exception& error) {
    return fail(fmt::format("malformed control message: {}", error.what()));
  } catch (const std::out_of_range& error) {
    return fail(fmt::format("malformed control message: {}", error.what()));
  } catch (const BadValue& bad) {
    return std::unexpected(bad.error);
  }
}

}  // namespace

std::string_view to_string(Backend backend) {
  return backend == Backend::vram ? "vram" : "ram";
}

Result<Backend> parse_backend(std::string_view text) {
  if (text == "vram") return Backend::vram;
  if (text == "ram") return Backend::ram;
  return fail(fmt::format("backend '{}': must be vram or ram", text));
}

std::chrono::seconds doze_after(const UpRequest& request) {
  const bool saves_power = request.backend == Backend::vram;
  return request.doze_after.value_or(saves_power ? kDefaultDozeAfter : std::chrono::seconds(0));
}

std::string encode(const Request& request) {
  return std::visit(
      Overloaded{[](const UpRequest& up) {
                   Json json = message("up");
                   json["size"] = to_string(up.size);
                   json["priority"] = up.priority;
                   json["backend"] = to_string(up.backend);
                   json["gpus"] = up.gpus;
                   json["segment_size_bytes"] = up.segment_size_bytes;
                   json["connections"] = up.connections;
                   json["reconnect_timeout_s"] = up.reconnect_timeout.count();
                   json["doze_after_s"] = up.doze_after ? Json(up.doze_after->count()) : Json();
                   json["hang_timeout_s"] = up.hang_timeout.count();
                   json["lend_group"] = up.lend_group ? Json(*up.lend_group) : Json();
                   return dump_json(json);
                 },
                 [](const DownRequest& down) {
                   Json json = message("down");
                   json["force"] = down.force;
                   return dump_json(json);
                 },
                 [](const StatusRequest&) { return dump_json(message("status")); },
                 [](const ReloadRequest&) { return dump_json(message("reload")); },
                 [](const LendRequest& lend) {
                   Json json = message("lend");
                   json["bytes"] = lend.bytes ? Json(*lend.bytes) : Json();
                   json["is_held"] = lend.is_held;
                   json["wait_s"] = lend.wait ? Json(lend.wait->count()) : Json();
                   json["purpose"] = lend.purpose;
                   return dump_json(json);
                 },
                 [](const TakeBackRequest&) { return dump_json(message("take-back")); }},
      request);
}

std::string encode(const Reply& reply) {
  return std::visit(Overloaded{[](const Progress& progress) {
                                 Json json = message("progress");
                                 json["device"] = progress.device;
                                 json["done_bytes"] = progress.done_bytes;
                                 json["total_bytes"] = progress.total_bytes;
                                 return dump_json(json);
                               },
                               [](const Status& status) {
                                 Json json = message("status");
                                 json["version"] = status.version;
                                 json["supervisor_pid"] = status.supervisor_pid;
                                 json["segments"] = Json::array();
                                 for (const auto& segment : status.segments) {
                                   json["segments"].push_back(segment_json<Json>(segment));
                                 }
                                 json["workers"] = Json::array();
                                 for (const auto& worker : status.workers) {
                                   json["workers"].push_back(to_json(worker));
                                 }
                                 json["notes"] = status.notes;
                                 json["loans"] = loans_json(status.loans);
                                 json["lent_bytes"] = status.lent_bytes;
                                 return dump_json(json);
                               },
                               [](const Lent& lent) {
                                 Json json = message("lent");
                                 json["freed_bytes"] = lent.freed_bytes;
                                 json["missing_bytes"] = lent.missing_bytes;
                                 json["problem"] = lent.problem;
                                 return dump_json(json);
                               },
                               [](const Done&) { return dump_json(message("done")); },
                               [](const Failure& failure) {
                                 Json json = message("failure");
                                 json["message"] = failure.message;
                                 return dump_json(json);
                               }},
                    reply);
}

std::string encode_loans(const std::vector<Loan>& loans) {
  Json json = message("loans");
  json["loans"] = loans_json(loans);
  return dump_json(json);
}

Result<std::vector<Loan>> decode_loans(std::string_view text) {
  return decode<std::vector<Loan>>(text, loans_from);
}

Result<Request> decode_request(std::string_view line) {
  return decode<Request>(line, request_from);
}

Result<Reply> decode_reply(std::string_view line) {
  return decode<Reply>(line, reply_from);
}

}  // namespace vramswap::control
