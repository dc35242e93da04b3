#include "daemon/supervisor/pool/state_publisher.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "daemon/supervisor/pool/pool_parts.hpp"
#include "daemon/supervisor/pool/status_line.hpp"
#include "daemon/system/log.hpp"

namespace vramswap {
namespace {

// A worker answers at once, unless it is busy with an allocation or a scrub.
constexpr std::chrono::seconds kDescribeTimeout{60};

}  // namespace

std::string description_name(std::uint64_t sequence) {
  return fmt::format("{}-{}", kDescriptionName, sequence);
}
std::string page_map_name(std::uint32_t segment) {
  return fmt::format("page-map-{}", segment);
}
std::string store_name(std::uint32_t segment, std::uint32_t serial) {
  return fmt::format("store-{}-{}", segment, serial);
}
bool is_store_of(std::uint32_t segment, std::string_view name) {
  return name.starts_with(fmt::format("store-{}-", segment));
}

std::string lost_store_name(std::uint32_t segment, unsigned generation) {
  return fmt::format("lost-store-{}-{}", segment, generation);
}
bool is_lost_store_of(std::uint32_t segment, std::string_view name) {
  return name.starts_with(fmt::format("lost-store-{}-", segment));
}

bool is_memory_of(std::uint32_t segment, std::string_view name) {
  return name == page_map_name(segment) || is_store_of(segment, name) ||
         is_lost_store_of(segment, name);
}

Result<UniqueFd> description_file(std::string_view text, HostMemory memory) {
  auto file = create_host_memory("vramswap-pool", text.size(), memory);
  if (!file) return file.error();
  if (pwrite(file->get(), text.data(), text.size(), 0) < 0) {
    return errno_error("pool description", "pwrite", errno);
  }
  return file;
}

std::string StatePublisher::text() const {
  PoolDescription description = describe(parts_);
  description.sequence = sequence_;
  return encode(description);
}

awaitable<Result<void>> StatePublisher::tell(WorkerProcess& worker) const {
  const messages::Describe message{text()};
  const auto answer = co_await worker.call(message, {}, kDescribeTimeout);
  if (!answer) co_return answer.error();
  co_return Result<void>{};
}

// The service manager has it first, and before the earlier one leaves: a worker must not know of a
// later description than the store has, nor keep the others from being told.
awaitable<void> StatePublisher::publish() {
  const auto pass = co_await publications_.enter_alone();
  if (parts_.slots.empty()) co_return;  // it was taken down meanwhile
  ++sequence_;
  if (auto stored = store(); !stored) log_error(stored.error().message);
  // Of its own: a worker may be replaced while another one is told.
  std::vector<std::shared_ptr<WorkerProcess>> workers;
  for (const auto& slot : parts_.slots) {
    if (slot->is_serving()) workers.push_back(slot->worker());
  }
  for (const auto& worker : workers) {
    if (const auto told = co_await tell(*worker); !told) log_error(told.error().message);
  }
}

Result<void> StatePublisher::store() {
  auto file = description_file(text(), memory_);
  if (!file) return file.error();
  description_ = *std::move(file);
  auto& manager = machine_.service_manager;
  const std::string earlier = std::exchange(name_, description_name(sequence_));
  manager.push_to_fdstore(name_, description_.get());
  manager.wait_for_fdstore();
  if (!earlier.empty()) manager.remove_from_fdstore(earlier);
  return {};
}

awaitable<void> StatePublisher::withdraw() {
  const auto pass = co_await publications_.enter_alone();
  if (!name_.empty()) machine_.service_manager.remove_from_fdstore(std::exchange(name_, ""));
  description_.reset();
}

void StatePublisher::continue_from(std::uint64_t sequence) {
  sequence_ = sequence;
  name_ = description_name(sequence);
}

void StatePublisher::push_page_map(std::uint32_t segment, const UniqueFd& page_map) const {
  if (page_map) machine_.service_manager.push_to_fdstore(page_map_name(segment), page_map.get());
}

void StatePublisher::remove_page_map(std::uint32_t segment) const {
  machine_.service_manager.remove_from_fdstore(page_map_name(segment));
}

void StatePublisher::push_store(std::uint32_t segment, std::uint32_t serial,
                                const UniqueFd& store) const {
  if (store) machine_.service_manager.push_to_fdstore(store_name(segment, serial), store.get());
}

void StatePublisher::remove_store(std::uint32_t segment, std::uint32_t serial) const {
  machine_.service_manager.remove_from_fdstore(store_name(segment, serial));
}

// systemd keeps a file once: under a second name it would not take it.
void StatePublisher::keep_lost_store(std::uint32_t segment, std::uint32_t serial,
                                     const std::string& name, const UniqueFd& store) const {
  remove_store(segment, serial);
  machine_.service_manager.push_to_fdstore(name, store.get());
}

void StatePublisher::remove_lost_store(const std::string& name) const {
  machine_.service_manager.remove_from_fdstore(name);
}

void StatePublisher::show() {
  std::string line = note_.empty() || parts_.is_going_down ? status_line(parts_) : note_;
  if (line == shown_) return;
  const bool is_told = machine_.service_manager.notify_status(line);
  shown_ = is_told ? std::move(line) : "";
}

void StatePublisher::show_note(std::string note) {
  note_ = std::move(note);
  show();
}

Result<NamedFds> StatePublisher::handover_fds() const {
  NamedFds fds;
  if (parts_.segments.empty()) return fds;
  fds[std::string(kDescriptionName)] = description_.duplicate();
  for (const auto& segment : parts_.segments) {
    if (segment->state() == SegmentState::planned) continue;
    fds[page_map_name(segment->id())] = segment->page_map().duplicate();
    if (segment->store()) {
      fds[store_name(segment->id(), segment->store_id().serial)] = segment->store().duplicate();
    }
    for (const auto& [name, store] : segment->lost_stores()) fds[name] = store.duplicate();
  }
  for (const auto& slot : parts_.slots) slot->add_to(fds);
  for (const auto& [name, fd] : fds) {
    if (!fd) return fail(fmt::format("{}: no descriptor to hand over", name));
  }
  return fds;
}

}  // namespace vramswap
