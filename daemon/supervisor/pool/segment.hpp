// One piece of the pool: a store in a worker, the kernel's device on it, and the swap area on that.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "daemon/control/protocol.hpp"
#include "daemon/handover/pool_description.hpp"
#include "daemon/supervisor/pool/pool_options.hpp"
#include "daemon/supervisor/pool/segment_connections.hpp"
#include "daemon/supervisor/pool/segment_state.hpp"
#include "daemon/supervisor/pool/stale_imports.hpp"
#include "daemon/supervisor/pool/state_publisher.hpp"
#include "daemon/supervisor/pool/worker_slot.hpp"

namespace vramswap {

// The same for all segments of a pool.
struct SegmentSettings {
  control::Backend backend = control::Backend::vram;
  unsigned connections = 1;
  std::chrono::seconds reconnect_timeout{600};
  std::string identifier_prefix;  // of the backend identifier of the devices
  bool makes_swap_area = true;
  HostMemory page_map_memory = HostMemory::unswappable;

  static SegmentSettings of(const PoolOptions& options, const control::UpRequest& request,
                            std::uint32_t pool_id, unsigned connections);
};

class Segment {
 public:
  // It has its memory's state from `known`; nothing of it exists yet.
  Segment(Machine& machine, const SegmentSettings& settings, WorkerSlot& slot,
          StatePublisher& publisher, const PoolDescription::Segment& known);
  ~Segment();
  Segment(const Segment&) = delete;

  // Up: each follows the one before it. After an error nothing of the step is left, except that a
  // device may carry swap when activate() fails.
  awaitable<Result<void>> create_store();
  awaitable<Result<void>> connect();
  awaitable<Result<void>> activate();

  // In the place of activate() where somebody else has swapped it off. If it fails, it stays off.
  awaitable<Result<void>> swap_on_again();

  // Moves its pages to a new store there, under the live device; the kernel sees a pause of a
  // fraction of a second. An error: its store is as before, or another call moves it.
  awaitable<Result<void>> move_to(StorePlace place);

  // Gives its swap area, its device and its store up, and keeps its place in the pool. An error: it
  // is up as before, or is_half_lent().
  awaitable<Result<void>> lend();
  // Makes all of it anew, or what is missing. An error: it is lent, as before, or is_half_lent().
  awaitable<Result<void>> take_back();

  // Down. swap_off() refuses a segment that is not served: swapoff(2) would count the pages that it
  // cannot read as gone. `may_lose_pages`: not if somebody else has disconnected the device, so
  // that they never can be read. If it fails, the swap area is on as before.
  awaitable<Result<void>> swap_off(bool may_lose_pages);
  void kill_swap_off();
  // Takes the device away, after swapping off what is active. Nothing happens without a device.
  awaitable<Result<void>> disconnect();
  // Scrubs and frees the memory. Nothing happens without memory.
  awaitable<Result<void>> release_store();
  // Waits for the work on this segment that is under way; none begins any more.
  awaitable<void> close() { return work_.close_and_wait(); }

  // Recovery: the worker is dead; a new one gets the store, then the connections.
  void on_worker_lost();
  awaitable<Result<void>> restore_store();
  // The row of imports that found no store has ended.
  void forget_stale_imports() { stale_imports_.forget(); }
  // An error: the kernel has not taken all sockets within a second. It is offered more of them, in
  // the background, for as long as the segment has a device.
  awaitable<Result<void>> restore_connections();
  void on_connection_ended(const messages::ConnectionEnded& ended);
  // Pages may have become lost, or may have been written again.
  void update_lost_pages();
  // `now` is what the worker has: the report of an end may have been lost.
  void compare_connections(const messages::Adopted& now);
  // Logs it if somebody else has swapped it off, as `areas` are what the kernel shows now.
  void compare_swap(const std::vector<SwapArea>& areas);
  // Why I/O threads are without a connection; empty: none is.
  const std::string& connection_problem() const { return connections_.problem(); }
  // Work on this segment, which then stays until it is over. Nothing: it is being removed.
  std::optional<Gate::Pass> enter() { return work_.enter(); }

  // Adoption of what an earlier supervisor left: what its worker says, what was inherited or is
  // asked of the worker, and what the kernel has. A segment without memory and device is planned.
  Result<void> adopt_from_worker(const messages::Adopted::Segment& held);
  // Never kills the worker. What it hands over is in `inherited`, too, for another attempt.
  awaitable<Result<void>> adopt_memory(NamedFds& inherited);
  // `is_going_down`: the earlier supervisor was taking the pool down.
  Result<void> adopt_device(const std::vector<NbdDevice>& devices,
                            const std::vector<SwapArea>& areas, bool is_going_down);
  // Gives a worker that lives the store if it lacks that: its supervisor may have died while it was
  // setting up.
  awaitable<Result<void>> finish_store();
  void push_memory() const;

  std::uint32_t id() const { return known_.id; }
  SegmentState state() const { return state_; }
  // Whether it has a device, /dev/nbdN.
  bool has_nbd() const {
    return state_ != SegmentState::planned && state_ != SegmentState::allocated;
  }
  bool carries_swap() const {
    return state_ == SegmentState::active || state_ == SegmentState::interrupted;
  }
  // The kernel shows it as no swap area any more, though it did.
  bool is_off_by_others() const;
  // The same two as status() shows, as far as was seen without asking the kernel.
  bool was_seen_off() const { return was_seen_off_ && carries_swap(); }
  bool is_disconnected_by_others() const {
    return carries_swap() && !was_seen_off_ && connections_.are_refused();
  }
  std::string path() const { return has_nbd() ? device_path(nbd_index_) : ""; }
  const WorkerSlot& slot() const { return slot_; }
  const std::shared_ptr<WorkerProcess>& worker() const { return slot_.worker(); }
  // Where its store is, and how often it has got a new one.
  StoreId store_id() const { return store_id_; }
  // To host memory, from the card.
  bool is_moved_out() const { return store_id_.place != home(); }
  // Its swap area was given up to free its store: it is planned, and comes back.
  bool is_lent() const { return known_.is_lent && state_ == SegmentState::planned; }
  // Its swap area was given up, its store could not be, and it could not be put back.
  bool is_half_lent() const {
    return known_.is_lent && state_ != SegmentState::planned && !carries_swap();
  }
  // Nothing is left of it, and nothing comes back.
  bool is_gone() const { return state_ == SegmentState::planned && !known_.is_lent; }
  // Whether it would survive the worker: what the worker has of it, the supervisor has, too.
  bool survives_worker() const { return !is_in_worker_ || (page_map_ && store_); }
  std::uint64_t size_bytes() const { return known_.size_bytes; }
  std::uint64_t lost_pages() const { return known_.lost_pages + known_.corrupt_pages; }
  const UniqueFd& page_map() const { return page_map_; }
  const UniqueFd& store() const { return store_; }
  // Those whose content was declared lost, kept in case that it is not: until the segment is
  // released.
  const NamedFds& lost_stores() const { return lost_stores_; }
  PoolDescription::Segment describe() const;
  control::SegmentStatus status(const std::vector<SwapArea>& areas) const;

 private:
  std::uint64_t page_count() const;
  Result<void> advance(SegmentEvent event);
  awaitable<Result<void>> check_served();
  Result<void> check_nothing_is_lost() const;
  awaitable<Result<void>> run_swap_off();
  void note_served();
  void keep_connecting();
  awaitable<void> connect_until_complete(Gate::Pass pass, Gate::Pass connecting);
  awaitable<Result<void>> scrub();
  Result<void> lose_content();
  void note_lost(std::uint64_t pages, std::string_view why);
  void note_disconnected();
  void keep_lost_store();
  void forget_memory();
  StorePlace home() const;
  std::string place_name() const;
  awaitable<Result<void>> abandon_move(std::chrono::seconds timeout);
  void settle_move();
  awaitable<Result<void>> come_up();
  awaitable<void> forget_failed_store();
  awaitable<void> limit_requests(Gate::Pass pass, Gate::Pass limiting);
  awaitable<void> restore_request_limit(std::uint32_t index);
  Result<void> make_page_map_of_lost_pages();

  Machine& machine_;
  const SegmentSettings settings_;
  WorkerSlot& slot_;
  StatePublisher& publisher_;
  PoolDescription::Segment known_;
  SegmentState state_ = SegmentState::planned;
  UniqueFd page_map_;
  UniqueFd store_;  // empty while its content is lost and the next store not made
  StoreId store_id_;
  // The store to which it is being moved. The page map says when it has the pages.
  struct Next {
    StoreId id;
    UniqueFd store;
  };
  std::optional<Next> next_;
  NamedFds lost_stores_;
  bool is_in_worker_ = false;  // whether the worker has the store
  // Of the queue: as this supervisor has set it last, 0: it has not; and as it should be.
  std::uint64_t request_limit_ = 0;
  std::uint64_t wanted_limit_ = 0;
  std::uint32_t nbd_index_ = 0;
  SegmentConnections connections_;
  Gate limiting_;    // the requests, in the background
  Gate connecting_;  // in the background
  StaleImports stale_imports_;
  bool was_listed_ = false;            // the kernel has shown it as a swap area
  bool was_seen_off_ = false;          // and did not at the last comparison
  bool was_disconnected_ = false;      // by somebody else, and is not whole since
  std::unique_ptr<SwapOff> swap_off_;  // while it is under way
  std::unique_ptr<SwapReadAhead> read_ahead_;
  Gate work_;
};

}  // namespace vramswap
