// What a slot says of itself: to clients, and to the next supervisor.
#include <fmt/format.h>

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

std::vector<std::string> WorkerSlot::notes() const {
  std::vector<std::string> notes;
  if (driver_.is_replaced()) notes.emplace_back(KeptDriver::kReplaced);
  if (known_.info.is_exclusive && known_.start.doze_after.count() > 0) {
    notes.emplace_back(
        "does not doze: the card's compute mode is exclusive, so another program could take the "
        "card meanwhile");
  }
  const bool lacks_room = known_.info.context_bytes > 0 && !context_reserve_.is_there();
  if (lacks_room && is_serving()) {
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

LogFields WorkerSlot::log_fields(std::string_view message_id) const {
  LogFields fields{.message_id = message_id, .store = known_.info.name, .gpu = known_.info.uuid};
  if (worker_) fields.worker = worker_->pid();
  return fields;
}

}  // namespace vramswap
