// What an I/O thread runs: it waits for its connections and for commands, and serves them.
#pragma once

#include <sys/epoll.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "daemon/base/error.hpp"
#include "daemon/base/unique_fd.hpp"
#include "daemon/handover/connection_end.hpp"
#include "daemon/handover/copy_notes.hpp"
#include "daemon/worker/io/adaptive_spin.hpp"
#include "daemon/worker/io/io_counters.hpp"
#include "daemon/worker/io/pipeline.hpp"
#include "daemon/worker/io/served_segment.hpp"
#include "daemon/worker/io/staging.hpp"
#include "daemon/worker/store/store.hpp"
#include "daemon/worker/store/watchdog_copier.hpp"

namespace vramswap {

// An I/O thread writes one into the report pipe; the control thread reads it.
struct IoReport {
  enum class Kind {
    connection_ended,
    lost_pages_changed,  // see ServedSegment::has_urgent_news
  } kind;
  std::uint32_t segment_id;
  std::uint32_t connection_id = 0;  // for connection_ended, as is `end`
  ConnectionEnd end = ConnectionEnd::hung_up;
};

// A connection of a paused I/O thread, to be handed to another process.
struct ParkedConnection {
  std::uint32_t segment_id;
  std::uint32_t connection_id;
  int socket;  // the I/O thread owns it
};

// The control thread writes these into the command pipe. They hold plain pointers, so that the I/O
// thread takes no lock that the control thread could hold.
struct IoCommand {
  enum class Kind { add, drop, pause, resume, stop } kind;
  Connection* connection = nullptr;        // add: the I/O thread owns it from now on
  const ServedSegment* segment = nullptr;  // drop
  std::uint32_t pause = 0;                 // pause: its number, above 0
};

// Everything that the control thread and an I/O thread share.
struct IoThreadLink {
  int report_pipe = -1;
  UniqueFd command_read;
  UniqueFd command_write;
  UniqueFd answered;  // eventfd: the I/O thread is ready to serve, or has paused
  std::atomic<std::uint32_t> paused = 0;  // the number of the last pause that was reached
  std::vector<ParkedConnection> parked;   // in that pause; complete before `paused` is set
  std::atomic<std::uint64_t> requests_served = 0;
  CopyTimer copy_timer;
  CopyNotes* copy_notes = nullptr;  // of the worker; null: copies are not noted
  unsigned number = 0;              // of the thread, in the notes
  IoCounters counters;
};

// Used by the I/O thread alone, from create() to its destruction: the copier's streams belong to
// the CUDA context that is current on that thread.
class IoLoop {
 public:
  // `link` and what is in `devices` outlive the loop. `realtime`: the calling thread runs at
  // SCHED_RR.
  static Result<std::unique_ptr<IoLoop>> create(const StoreDevices& devices, IoThreadLink& link,
                                                bool realtime);

  // Returns at a stop command. Open connections are then closed by the destructor.
  void run();

 private:
  IoLoop(IoThreadLink& link, bool realtime);

  Result<void> prepare(const StoreDevices& devices);
  Result<std::unique_ptr<Copier>> make_copier(StoreDevice& device);
  int look(std::span<epoll_event> events, const timespec* timeout);
  int wait(std::span<epoll_event> events);
  bool handle_command();  // false: stop
  bool watch(Connection& connection, int operation);
  void advance_pause();
  void end_pause();
  void serve(Connection& connection);
  void serve_waiting_reads();
  void hang_up(Connection& connection);
  bool has_waiting_reads() const;
  void reclaim_staging();
  void report_lost_pages(ServedSegment& segment);
  void report(const IoReport& report);
  void close(Connection& connection, ConnectionEnd end);

  IoThreadLink& link_;
  UniqueFd epoll_;
  std::unique_ptr<Staging> staging_;
  Copiers copiers_;
  std::unique_ptr<Pipeline> pipeline_;
  AdaptiveSpin spin_;
  std::vector<std::unique_ptr<Connection>> connections_;
  std::uint32_t pause_ = 0;  // the number of the pause that was asked for; 0: none
  // The socket of a closed connection whose peer may not have read all that was lent to it.
  struct Retired {
    UniqueFd socket;
    std::vector<Connection::Lent> lent;
  };
  std::vector<Retired> retired_;
};

}  // namespace vramswap
