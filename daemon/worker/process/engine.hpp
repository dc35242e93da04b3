// What serves: a store device and its I/O threads. A worker that dozes has none.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <vector>

#include "daemon/base/error.hpp"
#include "daemon/handover/messages.hpp"
#include "daemon/worker/io/io_thread.hpp"
#include "daemon/worker/store/store.hpp"

namespace vramswap {

class Engine {
 public:
  using Clock = std::chrono::steady_clock;

  // `hardened`: I/O threads at SCHED_RR, host memory that is never swapped out; checked.
  static Result<std::unique_ptr<Engine>> start(const messages::Start& start, int report_pipe,
                                               bool hardened);

  StoreDevice& device() { return *device_; }
  std::size_t thread_count() const { return threads_.size(); }

  // `name.thread` is below thread_count().
  Result<void> serve(Segment& segment, messages::ConnectionName name, UniqueFd socket);
  // Closes the connections of `segment`; a report follows for each.
  Result<void> drop(const Segment& segment);

  // All threads or none: see IoThread::pause.
  Result<bool> pause(std::chrono::milliseconds limit);
  Result<void> resume();
  // While paused.
  std::vector<ParkedConnection> connections() const;

  std::uint64_t requests_served() const;
  // Of all threads, since the start.
  control::IoStats stats() const;
  // When the copy began that has been going on longest; nothing where there is none.
  std::optional<Clock::time_point> copy_started_at() const;

 private:
  Engine() = default;

  std::unique_ptr<StoreDevice> device_;
  std::vector<std::unique_ptr<IoThread>> threads_;  // they use the device
};

}  // namespace vramswap
