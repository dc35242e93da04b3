// The worker's main thread: answers the supervisor, and looks after the engine. It has what
// outlives the engine, and hands that on when the process is replaced.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "daemon/base/error.hpp"
#include "daemon/base/unique_fd.hpp"
#include "daemon/handover/channel.hpp"
#include "daemon/handover/messages.hpp"
#include "daemon/worker/io/segment.hpp"
#include "daemon/worker/process/engine.hpp"
#include "daemon/worker/process/worker.hpp"
#include "daemon/worker/process/worker_handover.hpp"

namespace vramswap {

class ControlThread {
 public:
  ControlThread(UniqueFd channel, WorkerOptions options)
      : options_(std::move(options)), channel_(std::move(channel)) {}
  ControlThread(WorkerHandover image, WorkerOptions options);

  Result<void> run();

 private:
  struct Answer {
    messages::Message message;
    std::vector<UniqueFd> fds = {};
  };

  // A segment and the descriptors that outlive the engine.
  struct SegmentEntry {
    Segment segment;
    std::uint64_t size_bytes = 0;
    UniqueFd page_map;
    UniqueFd store;
    std::map<std::uint32_t, unsigned> connected;  // id to I/O thread
    // A connection of it ended other than by the kernel's good-bye: "reconnect me".
    bool awaits_reconnect = false;
    bool is_disconnected = false;  // the kernel has said good-bye: the device is gone
    std::vector<WorkerHandover::Connection> parked;  // while there is no engine
  };

  Result<Answer> handle(const messages::Start& start, std::vector<UniqueFd> fds);
  Result<Answer> handle(const messages::Create& create, std::vector<UniqueFd> fds);
  Result<Answer> handle(const messages::Import& import, std::vector<UniqueFd> fds);
  Result<Answer> handle(const messages::Connect& connect, std::vector<UniqueFd> fds);
  Result<Answer> handle(const messages::Remove& remove, std::vector<UniqueFd> fds);
  Result<Answer> handle(const messages::Describe& describe, std::vector<UniqueFd> fds);
  Result<Answer> handle(const messages::Adopt& adopt, std::vector<UniqueFd> fds);
  Result<Answer> handle(const messages::HandOver& hand_over, std::vector<UniqueFd> fds);
  Result<Answer> handle(const messages::Replace& replace, std::vector<UniqueFd> fds);
  Result<Answer> handle(const messages::ReportStats& report, std::vector<UniqueFd> fds);

  Result<void> wait();
  Result<void> handle_packet();
  void tell(const messages::Message& message, const std::vector<UniqueFd>& fds = {});
  Result<void> handle_report();
  Result<SegmentEntry*> find(std::uint32_t segment);
  Result<void> add_segment(std::uint32_t id, std::unique_ptr<Store> store, UniqueFd store_fd,
                           UniqueFd page_map);
  static Result<UniqueFd> duplicate(const UniqueFd& fd);
  Result<void> drop_connections(SegmentEntry& entry);

  void enter(WorkerEvent event);
  Result<void> wake();
  Result<void> reimport_store(SegmentEntry& entry);
  void tick();
  void end_if_hung() const;
  WorkerHandover image(WorkerState state);
  control::IoStats stats() const;
  Error replace_process(const std::string& program, WorkerEvent event,
                        std::chrono::milliseconds pause_limit);
  bool may_be_needed() const;
  Result<void> scrub_unneeded();

  const WorkerOptions options_;
  WorkerState state_ = WorkerState::fresh;
  bool owes_answer_ = false;
  messages::Start start_;
  std::string description_;
  std::chrono::nanoseconds began_at_ = Engine::Clock::now().time_since_epoch();
  control::IoStats earlier_stats_;  // of the programs that this one has replaced
  UniqueFd channel_;                // empty once the supervisor has gone
  UniqueFd listener_;               // of the rendezvous
  UniqueFd report_read_;
  UniqueFd report_write_;
  // Before the engine, whose threads use them.
  std::map<std::uint32_t, SegmentEntry> segments_;
  std::unique_ptr<Engine> engine_;
  std::uint64_t served_ = 0;  // as of the last tick that saw a new request
  Engine::Clock::time_point last_request_ = Engine::Clock::now();
};

}  // namespace vramswap
