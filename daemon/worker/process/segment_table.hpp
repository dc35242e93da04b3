// The segments of a worker, and the descriptors of each that outlive the engine.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "daemon/base/error.hpp"
#include "daemon/base/unique_fd.hpp"
#include "daemon/worker/io/io_loop.hpp"
#include "daemon/worker/io/served_segment.hpp"
#include "daemon/worker/process/engine.hpp"
#include "daemon/worker/process/worker_handover.hpp"
#include "daemon/worker/store/store.hpp"

namespace vramswap {

struct SegmentEntry {
  ServedSegment segment;
  std::uint64_t size_bytes = 0;
  StorePlace place = StorePlace::card;  // of its store
  UniqueFd page_map;
  UniqueFd store;
  // A store to which the segment is to move.
  struct Next {
    StoreId id;
    std::unique_ptr<Store> store;
    UniqueFd fd;
  };
  std::optional<Next> next;
  std::map<std::uint32_t, unsigned> connected;  // connection id to I/O thread
  // A connection ended without NBD_CMD_DISC, so the kernel waits for a new one.
  bool awaits_reconnect = false;
  // The kernel sent NBD_CMD_DISC: its device is gone.
  bool is_disconnected = false;
  std::vector<WorkerHandover::Connection> parked;  // the sockets, while there is no engine
};

// Used by the control thread alone, except for SegmentEntry::segment, which I/O threads use.
class SegmentTable {
 public:
  SegmentTable() = default;
  explicit SegmentTable(std::vector<WorkerHandover::Segment> segments);

  bool empty() const { return entries_.empty(); }
  // Id and entry of each segment, by id.
  auto begin() { return entries_.begin(); }
  auto end() { return entries_.end(); }
  auto begin() const { return entries_.begin(); }
  auto end() const { return entries_.end(); }

  Result<SegmentEntry*> find(std::uint32_t id);
  // `pages` is the mapping of `page_map`, for the size of `store`. `store_fd` holds the same store.
  Result<void> add(std::uint32_t id, std::unique_ptr<Store> store, UniqueFd store_fd,
                   UniqueFd page_map, PageMap pages);
  void erase(std::uint32_t id) { entries_.erase(id); }

  // Whether a store is on the card.
  bool need_card() const;
  // Imports every store into a device of `engine`, which has just started, and maps every page map.
  Result<void> reimport_stores(Engine& engine);
  // Removes a connection that has ended from its segment, and notes how it ended.
  void note_end(const IoReport& report);
  // Overwrites the stores whose device the kernel has disconnected. The others may still be served
  // by another worker.
  Result<void> scrub_disconnected();

  // Lends every segment's descriptors to a WorkerHandover, and the sockets in `connections`, which
  // are those of all I/O threads.
  std::vector<WorkerHandover::Segment> lend(const std::vector<ParkedConnection>& connections);
  void take_back(std::vector<WorkerHandover::Segment> segments);

 private:
  std::map<std::uint32_t, SegmentEntry> entries_;
};

}  // namespace vramswap
