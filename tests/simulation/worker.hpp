// Simulated workers: they hold memory and sockets, answer a supervisor, serve the kernel, and die.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/handover/channel.hpp"
#include "daemon/handover/messages.hpp"
#include "daemon/handover/page_map.hpp"
#include "tests/simulation/machine_state.hpp"
#include "tests/simulation/store.hpp"

namespace vramswap::simulation {

class World;

// What both ends of a channel see.
struct SimChannel {
  std::deque<Packet> to_worker;
  std::deque<Packet> to_supervisor;
  bool is_open_to_worker = true;      // the supervisor has its end open
  bool is_open_to_supervisor = true;  // the worker has
  TimePoint last_delivery{};
  std::function<void()> on_packet = [] {};  // or the end, for the supervisor
};

struct HeldConnection {
  unsigned thread = 0;
  std::uint64_t pair = 0;
  UniqueFd socket;
};
struct HeldSegment {
  std::shared_ptr<Store> store;
  UniqueFd store_fd;
  UniqueFd page_map_fd;
  PageMap pages;
  std::map<std::uint32_t, HeldConnection> connections;  // by id
  bool awaits_reconnect = false;
  // A store to which the segment is to move.
  struct Next {
    std::shared_ptr<Store> store;
    UniqueFd fd;
  };
  std::optional<Next> next = {};
};

class SimWorker : public std::enable_shared_from_this<SimWorker> {
 public:
  SimWorker(World& world, pid_t pid, unsigned child_of)
      : pid(pid), child_of(child_of), world_(world) {}

  // At the supervisor's request or by itself: memory, sockets and channel are closed.
  void die(const char* why);
  // The process stands still, all of it.
  void stop_for(std::chrono::nanoseconds time);
  void go_on();
  bool is_stopped() const;
  // Whether it has kept the supervisor waiting for an answer within the last half minute, or cannot
  // answer any more since its channel was cut.
  bool was_silent() const;
  // Something has come for it.
  void wake_up();
  // A supervisor connects to its socket.
  void connect(std::shared_ptr<SimChannel> channel);
  // The channel ends for both, and both live on.
  void cut_channel();
  bool has_room_for_caller() const { return callers_.size() < 2; }
  // The kernel has closed its end of a socket.
  void on_socket_end(std::uint64_t pair, ConnectionEnd end);
  // If the segment is one of its own.
  void tell_of_lost_pages(const HeldSegment& segment);

  bool is_being_set_up() const;
  bool knows_pool() const { return !description_.empty(); }
  bool takes_requests() const { return is_alive && has_started && !is_stopped(); }
  bool has_supervisor() const { return channel_ && channel_->is_open_to_worker; }
  // It takes room on the card, and goes with a reset of that.
  bool has_context() const { return has_context_; }
  HeldSegment* segment_of(std::uint64_t pair);

  const pid_t pid;
  const unsigned child_of;  // the number of the process, which exec does not change
  bool is_alive = true;
  bool has_started = false;
  messages::Start start;
  std::map<std::uint32_t, HeldSegment> segments;

 private:
  void take_turn();
  void handle(const messages::Request& request, std::vector<UniqueFd> fds);
  void begin_start(const messages::Start& request, std::vector<UniqueFd> fds);
  messages::Message answer(const messages::Request& request, std::vector<UniqueFd> fds,
                           std::vector<UniqueFd>& answer_fds);
  messages::Message create(const messages::Create& request, std::vector<UniqueFd> fds,
                           std::vector<UniqueFd>& answer_fds);
  messages::Message import(const messages::Import& request, std::vector<UniqueFd> fds);
  messages::Message connect_segment(const messages::Connect& request, std::vector<UniqueFd> fds);
  messages::Message remove(const messages::Remove& request);
  messages::Message prepare_move(const messages::PrepareMove& request,
                                 std::vector<UniqueFd>& answer_fds);
  messages::Message finish_move(const messages::FinishMove& request);
  void copy_valid_pages(HeldSegment& segment, std::uint32_t id);
  void leave_card();
  // What a request does that the worker answers with an error.
  void fail_to(const messages::Request& request);
  void tell(const messages::Message& message, std::vector<UniqueFd> fds = {});
  void on_channel_end();
  bool is_needed() const;
  std::string card_uuid() const;
  std::uint64_t context_bytes() const;
  bool is_card_full() const;
  Result<void> ensure_context();
  Result<void> find_room_for_store(StorePlace place) const;
  StorePlace home() const;
  Result<bool> has_room_for_context();
  void make_context_reserve();
  void give_up_reserve();
  void tell_of_context_reserve();
  void check_silence(std::chrono::nanoseconds limit);

  World& world_;
  std::shared_ptr<SimChannel> channel_;
  std::deque<std::shared_ptr<SimChannel>> callers_;
  std::vector<std::shared_ptr<SimChannel>> channels_;  // all there ever were
  std::string description_;
  TimePoint stopped_until_{};
  TimePoint busy_until_{};
  std::vector<std::weak_ptr<Packet>> unsent_;  // while it is busy
  TimePoint silent_until_{};                   // as was known when it was stopped
  bool is_turn_due_ = false;
  bool is_starting_ = false;
  bool has_context_ = false;
  UniqueFd reserve_;                      // for the next context; empty: it has none
  std::shared_ptr<Store> reserve_store_;  // of the one that it gave up
  TimePoint gave_up_at_{};
  std::optional<MessageFault> fault_;  // of the request that is being handled
};

class Workers {
 public:
  explicit Workers(World& world) : world_(world) {}

  std::shared_ptr<SimWorker> spawn(unsigned child_of);
  // The file system: the last one that listens at a path has it, dead or alive.
  void listen(const std::string& socket, const std::shared_ptr<SimWorker>& worker);
  std::shared_ptr<SimWorker> listening_at(const std::string& socket) const;
  std::vector<std::string> sockets() const;
  void remove_socket(const std::string& socket) { sockets_.erase(socket); }
  // Those that live, in the order of their start.
  std::vector<std::shared_ptr<SimWorker>> living() const;
  // One of those that live, or nothing.
  std::shared_ptr<SimWorker> choose(std::uint64_t choice) const;
  // And the supervisor may not have heard of it.
  bool any_died_just_now() const;
  void note_death(TimePoint when) { last_death_ = when; }
  bool any_is_being_set_up() const;
  bool any_knows_pool() const;
  // Which one holds it; nothing: none does.
  std::shared_ptr<SimWorker> holder_of(const Store& store) const;

 private:
  World& world_;
  std::vector<std::shared_ptr<SimWorker>> workers_;
  std::map<std::string, std::weak_ptr<SimWorker>> sockets_;
  pid_t last_pid_ = 1000;
  TimePoint last_death_{};
};

}  // namespace vramswap::simulation
