#include "daemon/worker/process/segment_table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace vramswap {
namespace {

Result<void> reimport_store(SegmentEntry& entry, Engine& engine) {
  const auto device = engine.device_at(entry.place);
  if (!device) return device.error();
  UniqueFd copy = entry.store.duplicate();
  if (!copy) return fail_errno("worker", "F_DUPFD_CLOEXEC", errno);
  auto store = (*device)->import(std::move(copy), entry.size_bytes);
  if (!store) return store.error();
  auto pages = PageMap::map(entry.page_map.get(), entry.size_bytes / kPageBytes);
  if (!pages) return pages.error();
  entry.segment.store = *std::move(store);
  entry.segment.set_pages(*std::move(pages));
  return {};
}

}  // namespace

SegmentTable::SegmentTable(std::vector<WorkerHandover::Segment> segments) {
  for (auto& segment : segments) {
    SegmentEntry& entry = entries_[segment.id];
    entry.segment.id = segment.id;
    entry.size_bytes = segment.size_bytes;
    entry.place = segment.place;
    entry.page_map = std::move(segment.page_map);
    entry.store = std::move(segment.store);
    entry.awaits_reconnect = segment.awaits_reconnect;
    for (const auto& connection : segment.connections) {
      entry.connected.emplace(connection.id, connection.thread);
    }
    entry.parked = std::move(segment.connections);
  }
}

Result<SegmentEntry*> SegmentTable::find(std::uint32_t id) {
  const auto found = entries_.find(id);
  if (found == entries_.end()) return fail(fmt::format("no segment {}", id));
  return &found->second;
}

Result<void> SegmentTable::add(std::uint32_t id, std::unique_ptr<Store> store, UniqueFd store_fd,
                               UniqueFd page_map, PageMap pages) {
  const auto [place, fresh] = entries_.try_emplace(id);
  if (!fresh) return fail(fmt::format("segment {} exists already", id));
  SegmentEntry& entry = place->second;
  entry.size_bytes = store->size_bytes();
  entry.place = store->place();
  entry.page_map = std::move(page_map);
  entry.store = std::move(store_fd);
  entry.segment.id = id;
  entry.segment.store = std::move(store);
  entry.segment.set_pages(std::move(pages));
  return {};
}

bool SegmentTable::need_card() const {
  return std::ranges::any_of(entries_, [](const auto& known) {
    const SegmentEntry& entry = known.second;
    return entry.place == StorePlace::card || entry.next;
  });
}

Result<void> SegmentTable::reimport_stores(Engine& engine) {
  for (auto& [id, entry] : entries_) {
    if (auto result = reimport_store(entry, engine); !result) return result;
  }
  return {};
}

void SegmentTable::note_end(const IoReport& report) {
  const auto found = entries_.find(report.segment_id);
  if (found == entries_.end()) return;
  SegmentEntry& entry = found->second;
  entry.connected.erase(report.connection_id);
  if (report.end == ConnectionEnd::hung_up || report.end == ConnectionEnd::broken) {
    entry.awaits_reconnect = true;
  }
  entry.is_disconnected |= report.end == ConnectionEnd::disconnected;
}

Result<void> SegmentTable::scrub_disconnected() {
  for (auto& [id, entry] : entries_) {
    if (!entry.is_disconnected || !entry.segment.store) continue;
    if (auto result = entry.segment.store->scrub(); !result) return result;
  }
  return {};
}

std::vector<WorkerHandover::Segment> SegmentTable::lend(
    const std::vector<ParkedConnection>& connections) {
  std::vector<WorkerHandover::Segment> segments;
  for (auto& [id, entry] : entries_) {
    WorkerHandover::Segment segment{.id = id,
                                    .size_bytes = entry.size_bytes,
                                    .place = entry.place,
                                    .page_map = std::move(entry.page_map),
                                    .store = std::move(entry.store),
                                    .awaits_reconnect = entry.awaits_reconnect,
                                    .connections = {}};
    for (const auto& parked : connections) {
      if (parked.segment_id != id) continue;
      segment.connections.push_back({parked.connection_id, entry.connected.at(parked.connection_id),
                                     UniqueFd(parked.socket)});
    }
    segments.push_back(std::move(segment));
  }
  return segments;
}

void SegmentTable::take_back(std::vector<WorkerHandover::Segment> segments) {
  for (auto& segment : segments) {
    SegmentEntry& entry = entries_[segment.id];
    entry.page_map = std::move(segment.page_map);
    entry.store = std::move(segment.store);
    // The I/O threads own the sockets.
    for (auto& connection : segment.connections) (void)connection.socket.release();
  }
}

}  // namespace vramswap
