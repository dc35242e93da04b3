// A thread that serves its own connection of every segment of a worker.
#pragma once

#include <pthread.h>
#include <sys/epoll.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "daemon/base/error.hpp"
#include "daemon/base/unique_fd.hpp"
#include "daemon/worker/io/adaptive_spin.hpp"
#include "daemon/worker/io/io_counters.hpp"
#include "daemon/worker/io/pipeline.hpp"
#include "daemon/worker/io/segment.hpp"
#include "daemon/worker/io/staging.hpp"
#include "daemon/worker/store/store.hpp"
#include "daemon/worker/store/watchdog_copier.hpp"

namespace vramswap {

// The worker's exit status when a copy hangs; kExitStoreFailed when one fails.
inline constexpr int kExitStoreHung = 11;

// Written by I/O threads into the report pipe, read by the control thread.
struct ConnectionReport {
  std::uint32_t segment_id;
  std::uint32_t connection_id;
  ConnectionEnd end;
};

// A connection of a paused thread, to be handed to another process.
struct ParkedConnection {
  std::uint32_t segment_id;
  std::uint32_t connection_id;
  int socket;  // stays the thread's
};

struct IoThreadOptions {
  // SCHED_RR 1, checked. Only unprivileged tests go without.
  bool realtime = true;
};

// All but start() is for the thread that called it, the control thread.
class IoThread {
 public:
  // Starts the thread and returns when it is ready to serve, or why it can not be. `report_pipe`
  // gets a ConnectionReport for each connection that ends; it and `device` outlive the thread.
  static Result<std::unique_ptr<IoThread>> start(StoreDevice& device, int report_pipe,
                                                 IoThreadOptions options = {});
  IoThread(const IoThread&) = delete;
  // Ends the thread; its connections are closed.
  ~IoThread();

  // The connection is served from now on, or from resume() on. Its socket is non-blocking, and
  // has a send buffer for all that it may be lent, so that a slow reader stops nobody else.
  Result<void> add(std::unique_ptr<Connection> connection);
  // Closes the connections of `segment`; a report follows for each.
  Result<void> drop(const Segment& segment);

  // Stops to serve, without a byte lost: what has been received in part is received to the end of
  // its message and answered, what the kernel sends after that stays in the socket. True: paused,
  // nothing is under way in the stores. False: not within `limit` (a message that does not arrive
  // in full, a READ whose memory is lent to somebody who does not read, a store that hangs), and
  // the thread serves on.
  Result<bool> pause(std::chrono::milliseconds limit);
  // A connection that has ended meanwhile is noticed and reported now.
  Result<void> resume();
  // While paused: the connections, as they were when pause() returned.
  std::vector<ParkedConnection> connections() const { return parked_; }

  // Since the start; errors count.
  std::uint64_t requests_served() const { return requests_served_.load(std::memory_order_relaxed); }
  // Since the start; replies that were sent.
  control::IoStats stats() const { return counters_.read(); }
  // When the call to the store began that the thread is in; nothing: it is in none.
  std::optional<std::chrono::steady_clock::time_point> copy_started_at() const {
    return copy_timer_.since();
  }

 private:
  struct Command;

  IoThread(int report_pipe, IoThreadOptions options);

  static void* entry(void* self);
  Result<void> prepare();
  void run();
  int wait(std::span<epoll_event> events);
  bool handle_commands();  // false: the thread is to end
  bool watch(Connection& connection, int operation);
  void advance_pause();
  void end_pause();
  void serve(Connection& connection);
  void serve_waiting_reads();
  void hang_up(Connection& connection);
  bool has_waiting_reads() const;
  void reclaim_staging();
  void close(Connection& connection, ConnectionEnd end);
  Result<void> send_command(const Command& command);

  const int report_pipe_;
  const IoThreadOptions options_;
  StoreDevice* device_ = nullptr;
  pthread_t thread_{};
  bool started_ = false;
  UniqueFd command_read_;
  UniqueFd command_write_;
  UniqueFd answered_;  // eventfd: look at prepared_ or paused_
  Result<void> prepared_;
  std::uint32_t last_pause_ = 0;           // its number; of the control thread alone
  std::atomic<std::uint32_t> paused_ = 0;  // the last one that was reached
  std::vector<ParkedConnection> parked_;   // of that one; settled before `paused_` is set
  std::atomic<std::uint64_t> requests_served_ = 0;
  CopyTimer copy_timer_;
  IoCounters counters_;

  // Of the thread alone.
  UniqueFd epoll_;
  std::unique_ptr<Staging> staging_;
  std::unique_ptr<Copier> copier_;
  std::unique_ptr<Pipeline> pipeline_;
  AdaptiveSpin spin_;
  std::vector<std::unique_ptr<Connection>> connections_;
  std::uint32_t pause_ = 0;  // the one asked for; 0: none
  // Closed to us, but the other side may not have read all that was lent to it.
  struct Retired {
    UniqueFd socket;
    std::vector<Connection::Lent> lent;
  };
  std::vector<Retired> retired_;
};

}  // namespace vramswap
