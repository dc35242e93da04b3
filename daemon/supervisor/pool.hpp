// The swap that is up: its segments, the workers that serve them, and the operations on all of it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/control/protocol.hpp"
#include "daemon/supervisor/asio.hpp"
#include "daemon/supervisor/child.hpp"
#include "daemon/supervisor/memory_reserve.hpp"
#include "daemon/supervisor/pool_plan.hpp"
#include "daemon/supervisor/segment_state.hpp"
#include "daemon/supervisor/worker_process.hpp"
#include "daemon/worker/page_map.hpp"
#include "daemon/worker/store.hpp"
#include "netlink/nbd_client.hpp"

namespace vramswap {

class Pool {
 public:
  using ProgressSink = std::function<void(const control::Progress&)>;

  explicit Pool(asio::io_context& io) : io_(io) {}
  Pool(const Pool&) = delete;

  // Allocates, connects, formats and swaps on; undoes all of it if a step fails.
  awaitable<Result<void>> up(control::UpRequest request);

  // Swaps off, disconnects, scrubs and frees. If a page does not come back, everything is up as
  // before. `force` skips the check whether the pages fit elsewhere.
  awaitable<Result<void>> down(bool force, ProgressSink progress);
  // Ends a `down` that is swapping off: it fails, and everything is up as before.
  void cancel_down();

  bool is_up() const { return !segments_.empty(); }
  bool is_busy() const { return is_busy_; }
  Result<std::vector<control::SegmentStatus>> status() const;

 private:
  // A store device and the worker that has it.
  struct Device {
    std::size_t index;
    messages::Start start;
    StoreDeviceInfo info;
    std::shared_ptr<WorkerProcess> worker;
    std::uint64_t worker_bytes = 0;  // what it had resident before it had a store
    bool is_recovering = false;
  };
  struct Segment {
    std::uint32_t id;
    Device* device;
    SegmentPlan plan;
    SegmentState state = SegmentState::planned;
    UniqueFd page_map;
    UniqueFd store;
    // Mapped here only to stay locked in memory: while no worker has them mapped, the kernel would
    // swap host memory out, to the very device that waits for it.
    std::optional<PageMap> locked_page_map;
    std::unique_ptr<Store> locked_store;  // of the ram backend
    std::uint32_t nbd_index = 0;

    bool has_device() const {
      return state != SegmentState::planned && state != SegmentState::allocated;
    }
    std::string path() const;
  };
  class Busy;

  awaitable<Result<void>> bring_up();
  awaitable<Result<void>> start_worker(Device& device);
  awaitable<Result<void>> create_store(Segment& segment);
  Result<void> lock_in_memory(Segment& segment) const;
  awaitable<Result<void>> connect(Segment& segment);
  awaitable<Result<void>> serve(Segment& segment, std::vector<UniqueFd> sockets,
                                std::vector<unsigned> slots);
  awaitable<Result<void>> reconnect(Segment& segment, std::vector<unsigned> slots);
  awaitable<Result<void>> activate(Segment& segment);

  awaitable<Result<void>> swap_off_all(bool force, const ProgressSink& progress);
  awaitable<Result<void>> swap_off(Segment& segment);
  awaitable<void> report_progress(std::shared_ptr<const std::string> device,
                                  std::uint64_t total_bytes, ProgressSink progress);
  awaitable<void> release_all();
  awaitable<Result<void>> release(Segment& segment);

  WorkerProcess::Handlers handlers_of(Device& device);
  void on_worker_exit(Device& device, int status);
  void on_connection_ended(const messages::ConnectionEnded& ended);
  awaitable<void> restore_connection(std::uint32_t segment_id, unsigned slot);
  awaitable<void> recover(Device& device);
  awaitable<Result<void>> try_recover(Device& device);
  awaitable<Result<void>> restart_worker(Device& device);
  awaitable<Result<void>> ensure_worker(Device& device);
  void size_reserve();
  awaitable<void> fill_reserve();

  Result<void> advance(Segment& segment, SegmentEvent event);
  Segment* find_segment(std::uint32_t id);
  std::vector<std::string> swap_paths() const;
  std::uint64_t used_bytes() const;
  std::string backend_identifier(const Segment& segment) const;
  awaitable<void> sleep(std::chrono::milliseconds duration);

  asio::io_context& io_;
  std::optional<netlink::NbdClient> nbd_;
  std::vector<std::unique_ptr<Device>> devices_;
  std::vector<std::unique_ptr<Segment>> segments_;  // in descending rank
  control::UpRequest request_;
  std::uint32_t pool_id_ = 0;  // random: tells our devices from others, and from those of before
  unsigned connections_ = 1;
  MemoryReserve reserve_;
  bool is_filling_ = false;
  bool is_busy_ = false;
  bool is_dismissing_ = false;
  bool is_cancelled_ = false;
  Child* swap_off_child_ = nullptr;
};

}  // namespace vramswap
