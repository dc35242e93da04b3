// The worker of one card, or of host memory: it is started, watched, and replaced when it dies.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/control/protocol.hpp"
#include "daemon/handover/pool_description.hpp"
#include "daemon/supervisor/machine/machine.hpp"
#include "daemon/supervisor/pool/context_reserve.hpp"
#include "daemon/supervisor/pool/kept_driver.hpp"
#include "daemon/supervisor/pool/recovery_reserve.hpp"
#include "daemon/supervisor/pool/state_publisher.hpp"
#include "daemon/supervisor/pool/worker_process.hpp"
#include "daemon/system/log_fields.hpp"

namespace vramswap {

class Segment;

class WorkerSlot {
 public:
  // `known` says how workers of this slot are started; of one that has had a worker before, also
  // what is known of its store device.
  WorkerSlot(Machine& machine, RecoveryReserve& reserve, StatePublisher& publisher,
             std::size_t index, PoolDescription::Device known);
  ~WorkerSlot();
  WorkerSlot(const WorkerSlot&) = delete;

  // The first worker. Its store device is then known.
  awaitable<Result<void>> start();
  // A worker that an earlier supervisor left.
  void adopt(std::shared_ptr<WorkerProcess> worker, UniqueFd copy_notes, UniqueFd context_reserve);
  // What an earlier supervisor left: the driver's files, see KeptDriver, and, if no worker was
  // adopted, the ContextReserve.
  void inherit(const NamedFds& inherited);
  // Copies of them for the next program.
  void add_to(NamedFds& fds) const;
  // From now on the worker is started on this GPU.
  void pin_gpu(std::string uuid) { known_.start.gpu = std::move(uuid); }

  // Tells the worker, see WorkerProcess::call.
  awaitable<Result<WorkerProcess::Answer>> call(messages::Request request, std::vector<int> fds,
                                                std::chrono::seconds timeout);
  // Never kills the worker, see WorkerProcess::ask.
  awaitable<Result<WorkerProcess::Answer>> ask(messages::Request request, std::vector<int> fds,
                                               std::chrono::seconds timeout);

  // Gives an adopted worker what it lacks: its supervisor may have died while it was setting up. A
  // worker that cannot import a store is killed, and then replaced: the supervisor holds all memory
  // by now.
  awaitable<void> finish_setup();
  // The worker is dead, or there is none. It is replaced in the background, for as long as a
  // segment needs one: what is in VRAM is kept, and the kernel queues the I/O.
  void lose_worker();
  // For a segment that is being released while the worker is dead or being replaced. An error: no
  // worker could be started.
  awaitable<Result<void>> ensure_worker();
  // Has the worker become `program`, over the same memory, while the kernel waits.
  awaitable<Result<void>> replace_program(std::string program);
  // No store is on the card: the worker gives its context up, and what is set aside for one, until
  // a store is to be there.
  awaitable<Result<void>> leave_card();
  bool has_left_card() const { return known_.start.leaves_card; }
  void note_use_of_card() { known_.start.leaves_card = false; }
  // Ends the worker, which serves nothing any more, and removes its socket.
  awaitable<void> dismiss();

  bool is_running() const { return worker_ && worker_->is_running(); }
  // Running, with all that it is to serve.
  bool is_serving() const { return is_running() && recovering_.is_empty(); }
  // A device of its segments is there, and no worker serves it.
  bool lacks_worker() const { return is_needed() && !is_serving(); }
  const std::shared_ptr<WorkerProcess>& worker() const { return worker_; }
  const StoreDeviceInfo& info() const { return known_.info; }
  std::uint64_t worker_bytes() const { return known_.worker_bytes; }
  std::size_t index() const { return index_; }
  PoolDescription::Device describe() const;
  control::WorkerStatus status() const;
  // For a line of words: what is wrong with its devices, and what else is to be known of it; empty:
  // nothing.
  std::string trouble() const;
  const std::string& remarks() const { return remarks_; }

 private:
  using EnteredSegments = std::vector<std::pair<Segment*, Gate::Pass>>;
  friend class Segment;  // which enters itself into segments_ and leaves it

  std::string new_socket() const;
  void add_copy_notes_to(messages::Start& start, std::vector<int>& fds);
  void remove_sockets() const;
  void watch_worker(std::shared_ptr<WorkerProcess> worker);
  void on_state_changed(WorkerState state);
  void on_exit();
  void begin_recovery();
  awaitable<void> recover(Gate::Pass pass, Gate::Pass recovering);
  std::vector<std::string> notes() const;
  bool lacks_room() const;
  std::string devices() const;
  // Of an event of its worker. They hold as long as this slot.
  LogFields log_fields(std::string_view message_id) const;
  void look_around();
  awaitable<Result<void>> try_recover();
  awaitable<Result<void>> restart(const EnteredSegments& segments);
  awaitable<Result<void>> reconnect(const EnteredSegments& segments);
  bool is_needed() const;
  EnteredSegments enter_segments() const;
  std::string connection_problem() const;
  // Compares, from time to time, what connections the worker has with what the segments know. It
  // ends when the slot is gone.
  static awaitable<void> compare_connections(Machine& machine, std::weak_ptr<WorkerSlot*> slot);
  // Asks the worker for a sign of life every few seconds. One that gives none for its hang time-out
  // and 5 s is killed, whatever it is doing, and then replaced. It is not killed while it may be
  // the only holder of a segment's memory. It ends when the slot is gone.
  static awaitable<void> watch_for_silence(Machine& machine, std::weak_ptr<WorkerSlot*> slot);
  void look_for_sign_of_life();

  Machine& machine_;
  RecoveryReserve& reserve_;
  StatePublisher& publisher_;
  const std::size_t index_;
  PoolDescription::Device known_;
  UniqueFd copy_notes_;  // which each worker gets from the one before; see CopyNotes
  KeptDriver driver_;
  ContextReserve context_reserve_;
  std::shared_ptr<WorkerProcess> worker_;
  std::vector<Segment*> segments_;
  Gate recoveries_;
  Gate recovering_;  // until the worker serves again; what a recovery does after that is not in it
  std::optional<Gate::Pass> waking_;  // while the worker wakes from a doze
  bool is_dismissed_ = false;
  unsigned silent_looks_ = 0;       // in a row
  std::uint64_t heard_before_ = 0;  // messages of the worker, at the last look
  Clock::TimePoint died_at_;
  std::chrono::milliseconds last_pause_{0};
  std::string problem_;  // why the last attempt to replace the worker failed; empty: it did not
  std::string remarks_;  // as of the last comparison
  const std::shared_ptr<WorkerSlot*> self_ = std::make_shared<WorkerSlot*>(this);
};

}  // namespace vramswap
