// The control thread's handle of an I/O thread, which serves its own connection of every segment of
// the worker.
#pragma once

#include <pthread.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "daemon/base/error.hpp"
#include "daemon/worker/io/io_counters.hpp"
#include "daemon/worker/io/io_loop.hpp"
#include "daemon/worker/io/served_segment.hpp"
#include "daemon/worker/store/store.hpp"

namespace vramswap {

// The worker's exit status when a copy hangs. When one fails, it is kExitStoreFailed.
inline constexpr int kExitStoreHung = 11;

struct IoThreadOptions {
  // Runs at SCHED_RR 1, and checks it. Only unprivileged tests turn this off.
  bool realtime = true;
  // The notes of its copies, and its number there. They outlive the thread.
  CopyNotes* copy_notes = nullptr;
  unsigned number = 0;
};

// All functions are for the control thread, the one that called start().
class IoThread {
 public:
  // Starts the thread. Returns when it is ready to serve, or the reason why it cannot serve. The
  // thread writes an IoReport into `report_pipe` for each connection that ends, and when pages are
  // lost. What is in `devices`, and `report_pipe`, outlive the thread.
  static Result<std::unique_ptr<IoThread>> start(StoreDevices devices, int report_pipe,
                                                 IoThreadOptions options = {});
  IoThread(const IoThread&) = delete;
  // Stops the thread and closes its connections.
  ~IoThread();

  // Serves the connection from now on, or from resume() on. Its socket must be non-blocking, with a
  // send buffer for all chunks that it may be lent: then a slow reader blocks no other connection.
  Result<void> add(std::unique_ptr<Connection> connection);
  // Closes the connections of `segment`. A report follows for each.
  Result<void> drop(const ServedSegment& segment);

  // Stops serving without losing a byte: a partly received message is read to its end and answered;
  // later messages stay in the socket. True: the thread has paused, and no copy is under way.
  // False: the thread did not pause within `limit` and keeps serving. Reasons: a message that does
  // not arrive completely, a peer that does not read and so keeps the memory that a READ needs, or
  // a store that hangs.
  Result<bool> pause(std::chrono::milliseconds limit);
  // Serves again. Connections that ended during the pause are noticed and reported now.
  Result<void> resume();
  // While paused: the connections that were open when pause() returned.
  std::vector<ParkedConnection> connections() const { return link_.parked; }

  // Since the start; failed requests count too.
  std::uint64_t requests_served() const {
    return link_.requests_served.load(std::memory_order_relaxed);
  }
  // Since the start: replies that were sent.
  control::IoStats stats() const { return link_.counters.read(); }
  // When the copy call that the thread is in began; nothing if it is in none.
  std::optional<std::chrono::steady_clock::time_point> copy_started_at() const {
    return link_.copy_timer.since();
  }

 private:
  IoThread(StoreDevices devices, IoThreadOptions options) : devices_(devices), options_(options) {}

  static void* entry(void* self);
  Result<void> send_command(const IoCommand& command);

  const StoreDevices devices_;
  const IoThreadOptions options_;
  IoThreadLink link_;
  pthread_t thread_{};
  bool started_ = false;
  Result<void> prepared_;         // set before the first `answered`
  std::uint32_t last_pause_ = 0;  // its number
};

}  // namespace vramswap
