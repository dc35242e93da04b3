// What a slot says of itself: to clients, and to the next supervisor.
#include <fmt/format.h>

#include <algorithm>

#include "daemon/supervisor/pool/segment.hpp"
#include "daemon/supervisor/pool/worker_slot.hpp"

namespace vramswap {

PoolDescription::Device WorkerSlot::describe() const {
  PoolDescription::Device device = known_;
  device.start.driver_path = driver_.path();
  return device;
}

std::string WorkerSlot::connection_problem() const {
  for (const Segment* segment : segments_) {
    if (segment->has_nbd() && !segment->connection_problem().empty()) {
      return segment->connection_problem();
    }
  }
  return "";
}

bool WorkerSlot::lacks_room() const {
  return known_.info.context_bytes > 0 && !has_left_card() && !context_reserve_.is_there();
}

std::vector<std::string> WorkerSlot::notes() const {
  std::vector<std::string> notes;
  if (driver_.is_replaced()) notes.emplace_back(KeptDriver::kReplaced);
  if (known_.info.is_exclusive && known_.start.doze_after.count() > 0) {
    notes.emplace_back(
        "does not doze: the card's compute mode is exclusive, so another program could take the "
        "card meanwhile");
  }
  if (lacks_room() && is_serving()) {
    notes.push_back(fmt::format(
        "the card has no room for another context ({}): {}if the worker dies and other programs "
        "take its room, the swap stands still until they free some",
        control::format_bytes(known_.info.context_bytes),
        known_.start.doze_after.count() > 0 ? "the worker does not doze, and " : ""));
  }
  return notes;
}

control::WorkerStatus WorkerSlot::status() const {
  return {.store = known_.info.name,
          .gpu_uuid = known_.info.uuid,
          .pid = is_running() ? worker_->pid() : 0,
          .state = is_running() ? std::string(to_string(worker_->state())) : "dead",
          .restarts = known_.restarts,
          .last_pause_ms = last_pause_.count(),
          .problem = problem_.empty() ? connection_problem() : problem_,
          .reserve_bytes = context_reserve_.is_there() ? known_.info.context_bytes : 0,
          .notes = notes(),
          .io = is_running() ? worker_->stats() : std::nullopt};
}

// "/dev/nbd1000" or "/dev/nbd1000 to /dev/nbd1003"; empty: it has none.
std::string WorkerSlot::devices() const {
  std::string first;
  std::string last;
  for (const Segment* segment : segments_) {
    if (!segment->has_nbd()) continue;
    (first.empty() ? first : last) = segment->path();
  }
  return last.empty() ? first : fmt::format("{} to {}", first, last);
}

std::string WorkerSlot::trouble() const {
  const std::string devices = this->devices();
  if (devices.empty()) return "";
  if (!is_serving() && !problem_.empty()) {
    return fmt::format("degraded: the worker of {} cannot be replaced yet: {}", devices, problem_);
  }
  if (!is_serving()) return fmt::format("replacing the worker of {}", devices);
  for (const Segment* segment : segments_) {
    if (segment->is_disconnected_by_others()) {
      return fmt::format("degraded: somebody else has disconnected {}", segment->path());
    }
  }
  const std::string problem = connection_problem();
  if (!problem.empty()) return fmt::format("degraded: {}", problem);
  const bool is_unserved = std::ranges::any_of(segments_, [](const Segment* segment) {
    return segment->state() == SegmentState::interrupted ||
           segment->state() == SegmentState::stranded;
  });
  return is_unserved ? fmt::format("replacing the worker of {}", devices) : "";
}

// What changes without a word to the supervisor.
void WorkerSlot::look_around() {
  remarks_.clear();
  if (driver_.log_if_replaced(log_fields(message_ids::kDriverReplaced))) {
    remarks_ += "; the driver on disk is not the one that runs";
  }
  if (lacks_room()) remarks_ += "; the card has no room for another context";
}

LogFields WorkerSlot::log_fields(std::string_view message_id) const {
  LogFields fields{.message_id = message_id, .store = known_.info.name, .gpu = known_.info.uuid};
  if (worker_) fields.worker = worker_->pid();
  return fields;
}

}  // namespace vramswap
