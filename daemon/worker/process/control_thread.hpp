// The worker's main thread. It answers the supervisor, watches the engine, and owns everything that
// outlives the engine. When the program is replaced, it hands that on to the next one.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/base/error.hpp"
#include "daemon/base/unique_fd.hpp"
#include "daemon/handover/channel.hpp"
#include "daemon/handover/copy_notes.hpp"
#include "daemon/handover/messages.hpp"
#include "daemon/worker/process/engine.hpp"
#include "daemon/worker/process/segment_table.hpp"
#include "daemon/worker/process/worker.hpp"
#include "daemon/worker/process/worker_handover.hpp"

namespace vramswap {

class ControlThread {
 public:
  // How long a worker under load may take to pause: until each connection reaches a message
  // boundary. That is at the end of the next request, which the kernel sends in one go.
  static constexpr std::chrono::milliseconds kLoadedPauseLimit{2000};

  ControlThread(UniqueFd channel, WorkerOptions options)
      : options_(std::move(options)), channel_(std::move(channel)) {}
  // After exec: continues with what the previous program handed over.
  ControlThread(WorkerHandover handover, WorkerOptions options);

  // Returns when the worker has nothing left to do. An error means that it cannot continue serving.
  Result<void> run();

 private:
  struct Answer {
    messages::Message message;
    std::vector<UniqueFd> fds = {};
  };

  Result<Answer> handle(const messages::Start& start, std::vector<UniqueFd> fds);
  Result<Answer> handle(const messages::Create& create, std::vector<UniqueFd> fds);
  Result<Answer> handle(const messages::Import& import, std::vector<UniqueFd> fds);
  Result<Answer> handle(const messages::Connect& connect, std::vector<UniqueFd> fds);
  Result<Answer> handle(const messages::Remove& remove, std::vector<UniqueFd> fds);
  Result<Answer> handle(const messages::PrepareMove& prepare, std::vector<UniqueFd> fds);
  Result<Answer> handle(const messages::FinishMove& finish, std::vector<UniqueFd> fds);
  Result<Answer> handle(const messages::AbandonMove& abandon, std::vector<UniqueFd> fds);
  Result<Answer> handle(const messages::Describe& describe, std::vector<UniqueFd> fds);
  Result<Answer> handle(const messages::Adopt& adopt, std::vector<UniqueFd> fds);
  Result<Answer> handle(const messages::HandOver& hand_over, std::vector<UniqueFd> fds);
  Result<Answer> handle(const messages::Replace& replace, std::vector<UniqueFd> fds);
  Result<Answer> handle(const messages::ReportStats& report, std::vector<UniqueFd> fds);
  Result<Answer> handle(const messages::Ping& ping, std::vector<UniqueFd> fds);
  Result<Answer> handle(const messages::ShareDriver& share, std::vector<UniqueFd> fds);

  Result<void> wait();
  Result<void> handle_packet();
  void tell(const messages::Message& message, const std::vector<UniqueFd>& fds = {});
  Result<void> handle_report();
  Result<void> drop_connections(SegmentEntry& entry);
  void map_copy_notes();
  void note_store(const ServedSegment& segment);
  void set_context_room_aside();
  void tell_of_context_reserve();
  // Whether there will be room for the next context.
  bool may_come_back() const { return room_.context_bytes == 0 || room_.reserve; }

  void enter(WorkerEvent event);
  Result<std::unique_ptr<Engine>> make_engine(bool has_card);
  Result<void> start_engine(bool has_card);
  Result<void> wake();
  Result<void> serve_parked();
  // Whether the worker has to have a context.
  bool needs_card() const { return !start_.leaves_card || segments_.need_card(); }
  Result<void> ensure_card();
  // An error: the engine serves as before.
  Result<void> pause_engine(std::chrono::milliseconds limit);
  Result<void> park_connections();
  void tick();
  void end_if_hung();
  WorkerHandover lend_handover(WorkerState state);
  control::IoStats stats() const;
  Error replace_process(int program, WorkerEvent event, std::chrono::milliseconds pause_limit);
  bool may_be_needed() const;

  const WorkerOptions options_;
  WorkerState state_ = WorkerState::fresh;
  bool owes_answer_ = false;  // to Replace, which the previous program received
  messages::Start start_;
  std::string description_;
  std::chrono::nanoseconds began_at_ = Engine::Clock::now().time_since_epoch();
  control::IoStats earlier_stats_;  // of the programs that ran before in this process
  DriverFiles driver_;              // the files that the worker loads to use the GPU
  ContextRoom room_;
  bool lacks_room_ = false;                    // which has been logged
  Engine::Clock::time_point next_reserve_at_;  // when to try again if there is no reserve
  UniqueFd channel_;                           // empty once the supervisor is gone
  UniqueFd listener_;  // the worker socket, where the next supervisor connects
  UniqueFd report_read_;
  UniqueFd report_write_;
  UniqueFd copy_notes_fd_;  // empty: the supervisor gave none
  // Whether to hand it to the supervisor, which came after the one that made it.
  bool owes_copy_notes_ = false;
  // Declared before the engine, whose threads use notes and segments.
  std::optional<CopyNotes> copy_notes_;
  SegmentTable segments_;
  std::unique_ptr<Engine> engine_;
  std::uint64_t served_ = 0;  // requests, at the last tick that saw a new one
  Engine::Clock::time_point last_request_ = Engine::Clock::now();
};

}  // namespace vramswap
