// The serving part of a worker: its store devices and I/O threads. A dozing worker has no engine.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <vector>

#include "daemon/base/error.hpp"
#include "daemon/handover/messages.hpp"
#include "daemon/worker/io/io_thread.hpp"
#include "daemon/worker/store/context_room.hpp"
#include "daemon/worker/store/driver_files.hpp"
#include "daemon/worker/store/store.hpp"

namespace vramswap {

class Engine {
 public:
  using Clock = std::chrono::steady_clock;

  // `driver` and `room` as in make_vram_device. Without `has_card` it makes no GPU context, and
  // serves what is in host memory. `hardened`: the I/O threads run at SCHED_RR, and
  // host memory is never swapped out. Both are checked. `copy_notes`, which may be null, outlives
  // the engine.
  static Result<std::unique_ptr<Engine>> start(const messages::Start& start, DriverFiles& driver,
                                               ContextRoom& room, int report_pipe, bool hardened,
                                               CopyNotes* copy_notes = nullptr,
                                               bool has_card = true);

  bool has_card() const { return card_ != nullptr; }
  // Where new stores are made: the card, if it has one.
  StoreDevice& device() { return card_ ? *card_ : *host_; }
  Result<StoreDevice*> device_at(StorePlace place);
  std::size_t thread_count() const { return threads_.size(); }

  // `name.thread` must be below thread_count().
  Result<void> serve(ServedSegment& segment, messages::ConnectionName name, UniqueFd socket);
  // Closes the connections of `segment`. A report follows for each.
  Result<void> drop(const ServedSegment& segment);

  // Pauses all threads or none: see IoThread::pause.
  Result<bool> pause(std::chrono::milliseconds limit);
  Result<void> resume();
  // Of all threads, while paused.
  std::vector<ParkedConnection> connections() const;

  std::uint64_t requests_served() const;
  // The sum over all threads, since the start.
  control::IoStats stats() const;
  // When the oldest copy call under way began; nothing if none is under way.
  std::optional<Clock::time_point> copy_started_at() const;

 private:
  Engine() = default;

  std::unique_ptr<StoreDevice> host_;
  std::unique_ptr<StoreDevice> card_;               // empty: there is none, or no context
  std::vector<std::unique_ptr<IoThread>> threads_;  // declared after the devices, which they use
};

}  // namespace vramswap
