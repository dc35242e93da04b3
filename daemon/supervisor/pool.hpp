// The swap that is up: its segments, the workers that serve them, and the operations on all of it.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/control/protocol.hpp"
#include "daemon/control/scratch.hpp"
#include "daemon/handover/nbd_export.hpp"
#include "daemon/handover/pool_description.hpp"
#include "daemon/supervisor/asio.hpp"
#include "daemon/supervisor/child.hpp"
#include "daemon/supervisor/inherited_fds.hpp"
#include "daemon/supervisor/memory_reserve.hpp"
#include "daemon/supervisor/pool_plan.hpp"
#include "daemon/supervisor/segment_state.hpp"
#include "daemon/supervisor/worker_process.hpp"
#include "daemon/system/proc.hpp"
#include "netlink/nbd_client.hpp"

namespace vramswap {

class Pool {
 public:
  using ProgressSink = std::function<void(const control::Progress&)>;

  // Workers listen in `runtime_directory` for a supervisor that follows this one. A pool that is
  // scratch makes no swap area on its devices.
  Pool(asio::io_context& io, std::string runtime_directory, Purpose purpose)
      : io_(io), runtime_directory_(std::move(runtime_directory)), purpose_(purpose) {}
  Pool(const Pool&) = delete;

  // Takes over what an earlier supervisor left: its workers, its devices, and the memory that
  // `inherited` holds. What carries swap is kept, what is half done is undone, and workers that
  // died with it are replaced; the last two go on after the return. An error: something is there
  // that this program cannot take over, and it is left alone.
  awaitable<Result<void>> adopt(NamedFds inherited);
  // What the next supervisor, in this process after exec, is to inherit.
  NamedFds memory() const;
  // Has every worker become `program`, over the same memory, while the kernel waits.
  awaitable<Result<void>> replace_workers(std::string program);

  // Allocates, connects, formats and swaps on; undoes all of it if a step fails.
  awaitable<Result<void>> up(control::UpRequest request);

  // Swaps off, disconnects, scrubs and frees. If a page does not come back, everything is up as
  // before. `force` skips the check whether the pages fit elsewhere.
  awaitable<Result<void>> down(bool force, ProgressSink progress);
  // Ends a `down` that is swapping off: it fails, and everything is up as before.
  void cancel_down();

  bool is_up() const { return !segments_.empty(); }
  bool is_busy() const { return is_busy_; }
  Result<std::vector<control::SegmentStatus>> segments() const;
  std::vector<control::WorkerStatus> workers() const;
  // Has workers() tell the stats of now, of those that answer at once.
  awaitable<void> refresh_stats() const;
  // What the identifiers of its devices begin with; empty while nothing is up.
  std::string identifier_prefix() const;

 private:
  using Clock = std::chrono::steady_clock;

  // A store device and the worker that has it.
  struct Device {
    std::size_t index;
    messages::Start start;
    StoreDeviceInfo info;
    std::shared_ptr<WorkerProcess> worker;
    std::uint64_t worker_bytes = 0;  // what it had resident before it had a store
    bool is_recovering = false;
    bool is_starting = false;  // a worker, that does not serve yet
    unsigned recovery = 0;     // the number of the last one, of all devices
    unsigned restarts = 0;
    Clock::time_point died_at;
    std::chrono::milliseconds last_pause{0};
    std::string problem;  // why the last attempt to replace the worker failed; empty: it did not
    // Attempts in a row at which a store could not be imported, and when the first was.
    unsigned stale_imports = 0;
    Clock::time_point first_stale_import;
  };
  struct Segment {
    std::uint32_t id;
    Device* device;
    SegmentPlan plan;
    SegmentState state = SegmentState::planned;
    UniqueFd page_map;
    UniqueFd store;  // empty while its content is lost and the next store not made
    std::uint32_t nbd_index = 0;
    // By I/O thread, the id of the connection that the kernel has taken; 0: none.
    std::vector<std::uint32_t> connections;
    std::uint32_t last_connection = 0;
    bool is_reconnecting = false;
    bool is_in_worker = false;  // whether its worker has the store
    unsigned generation = 0;
    std::uint64_t lost_pages = 0;
    std::int64_t lost_at = 0;

    bool has_device() const {
      return state != SegmentState::planned && state != SegmentState::allocated;
    }
    std::uint64_t page_count() const { return plan.size_bytes / kPageBytes; }
    std::string path() const;
    // I/O threads without a connection that the kernel has taken.
    std::vector<unsigned> unconnected_threads() const;
  };
  class Busy;
  class Recovery;

  awaitable<void> wait_where_scratch();
  awaitable<Result<void>> bring_up();
  awaitable<Result<void>> start_worker(Device& device);
  awaitable<Result<void>> create_store(Segment& segment);
  awaitable<Result<void>> connect(Segment& segment);
  awaitable<Result<std::vector<messages::ConnectionName>>> serve(
      Segment& segment, const std::vector<UniqueFd>& sockets, std::vector<unsigned> threads);
  awaitable<Result<void>> reconnect(Segment& segment);
  awaitable<Result<void>> offer_sockets(Segment& segment);
  awaitable<Result<void>> activate(Segment& segment);

  awaitable<Result<void>> swap_off_all(bool force, const ProgressSink& progress);
  awaitable<Result<void>> swap_off(Segment& segment);
  awaitable<void> report_progress(std::shared_ptr<const std::string> device,
                                  std::uint64_t total_bytes, ProgressSink progress);
  awaitable<void> release_all();
  awaitable<void> drop_released();
  awaitable<Result<void>> release(Segment& segment);
  awaitable<Result<void>> release_device(Segment& segment);
  awaitable<Result<void>> release_store(Segment& segment);
  awaitable<Result<void>> scrub(Segment& segment);

  // Of the worker of the device with this index.
  WorkerProcess::Handlers handlers_of(std::size_t index);
  void on_worker_exit(Device& device);
  void on_worker_state(Device& device, WorkerState state);
  void on_connection_ended(const messages::ConnectionEnded& ended);
  awaitable<void> restore_connections(std::uint32_t segment_id);
  void start_recovery(Device& device);
  awaitable<void> recover(Device& device);
  awaitable<Result<void>> try_recover(Device& device);
  bool is_any_starting() const;
  awaitable<void> give_up_reserve();
  awaitable<void> free_memory_for(unsigned recovery);
  awaitable<Result<void>> restart_worker(Device& device);
  awaitable<Result<void>> restore_store(Segment& segment);
  bool is_given_up(Device& device);
  Result<void> lose_content(Segment& segment);
  awaitable<Result<void>> ensure_worker(Device& device);

  // A worker that an earlier supervisor left.
  struct Met {
    std::size_t index;  // of its device
    std::shared_ptr<WorkerProcess> worker;
    messages::Adopted state;
  };
  awaitable<Result<std::vector<Met>>> meet_workers();
  static Result<std::optional<PoolDescription>> read_description(const NamedFds& inherited,
                                                                 const std::vector<Met>& met);
  awaitable<Result<void>> dismiss_strangers(std::vector<Met> met);
  void rebuild(const PoolDescription& description, std::vector<Met>& met);
  awaitable<Result<void>> take_memory(Segment& segment, NamedFds& inherited);
  Result<void> find_devices();
  awaitable<void> finish_adoption();
  awaitable<Result<void>> complete(Device& device);

  PoolDescription describe() const;
  // Tells workers and service manager what the next supervisor must know.
  awaitable<void> publish();
  awaitable<Result<void>> describe_to(Device& device);
  void store_memory(const Segment& segment) const;
  void forget_memory(const Segment& segment) const;
  void forget_description();

  void size_reserve();
  awaitable<void> fill_reserve();

  Result<void> advance(Segment& segment, SegmentEvent event);
  Segment* find_segment(std::uint32_t id);
  // A list of its own: others may be dropped while a coroutine works through it.
  std::vector<Segment*> segments_of(const Device& device) const;
  std::vector<std::string> swap_paths() const;
  std::uint64_t used_bytes() const;
  std::string backend_identifier(const Segment& segment) const;
  awaitable<void> sleep(std::chrono::milliseconds duration);

  asio::io_context& io_;
  const std::string runtime_directory_;
  const Purpose purpose_;
  std::optional<netlink::NbdClient> nbd_;
  std::vector<std::unique_ptr<Device>> devices_;
  std::vector<std::unique_ptr<Segment>> segments_;  // in descending rank
  control::UpRequest request_;
  std::uint32_t pool_id_ = 0;  // random: tells our devices from others, and from those of before
  unsigned connections_ = 1;
  std::uint64_t sequence_ = 0;  // of the description published last
  UniqueFd description_;        // which is also here
  MemoryReserve reserve_;
  unsigned last_recovery_ = 0;
  bool is_filling_ = false;
  bool is_giving_up_ = false;  // the reserve
  bool is_busy_ = false;
  unsigned recoveries_ = 0;  // of workers and connections, under way
  bool is_dismissing_ = false;
  bool is_cancelled_ = false;
  Child* swap_off_child_ = nullptr;
};

}  // namespace vramswap
