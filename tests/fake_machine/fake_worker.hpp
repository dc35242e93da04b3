// Workers without a process: they answer as a worker does, hold memory and sockets, and die.
#pragma once

#include <algorithm>
#include <deque>
#include <map>
#include <set>

#include "daemon/handover/messages.hpp"
#include "daemon/supervisor/machine/worker_launcher.hpp"
#include "tests/fake_machine/steps.hpp"

namespace vramswap::fake {

class FakeLink;

class FakeWorker {
 public:
  struct Segment {
    std::uint64_t size_bytes = 0;
    UniqueFd page_map;
    UniqueFd store;
    std::map<std::uint32_t, std::pair<unsigned, UniqueFd>> connections;  // by id: thread, socket
    // The store to which a move was prepared; empty: none.
    StoreId next_id = {};
    UniqueFd next = {};
  };

  FakeWorker(asio::io_context& io, Steps& steps, pid_t pid);

  // Its memory stays where others hold descriptors of it; its sockets are closed.
  void die();
  // Sends a message without a request, to the present supervisor.
  void tell(const messages::Message& message, std::vector<UniqueFd> fds = {});
  // The supervisor's next attempt to receive from it fails so.
  void fail_receive(int code);
  // As by SIGSTOP and SIGCONT: requests wait, and are then answered to who sent them.
  void stop() { is_stopped_ = true; }
  void go_on();
  // Does the same as a worker whose context finds no room.
  void give_up_reserve();
  // Whether anybody has a descriptor of the reserve that it made.
  bool is_reserve_held() const;
  // Whether the kernel has one of its connections open.
  bool serves_somebody() const;

  const pid_t pid;
  bool is_alive = true;
  bool answers = true;
  unsigned stats_reported = 0;             // how often it was asked for statistics
  std::map<std::size_t, int> fails_with;   // by kind_of: the errno that such requests fail with
  std::set<std::uint32_t> stale_segments;  // imports of these fail with ESTALE
  std::optional<std::size_t> dies_at;      // by kind_of: such a request kills it
  // FinishMove kills it: after the page map names the new store, or before.
  std::optional<bool> dies_in_move_when_moved;
  std::optional<std::size_t> dies_after;  // by kind_of: the answer to it is its last act
  std::optional<std::size_t> stops_at;    // by kind_of: such a request, once, stops it
  WorkerState state = WorkerState::serving;
  std::set<std::uint32_t> gives_up_in;  // an import into these loses their first page
  messages::Start start;
  UniqueFd copy_notes;
  std::vector<UniqueFd> start_fds;  // the driver's files that came with it
  std::string driver_path;          // as in FakeLauncher
  bool has_page_kernel = false;
  bool fails_with_kept_driver = false;
  bool is_exclusive = false;
  std::uint64_t context_bytes = 0;  // as in FakeLauncher
  bool has_room = true;
  UniqueFd context_reserve;
  std::string description;
  std::string program;
  std::map<std::uint32_t, Segment> segments;

 private:
  friend class FakeLink;
  friend class FakeLauncher;

  struct Waiting {
    std::weak_ptr<FakeLink> link;
    std::string text;
    std::vector<UniqueFd> fds;
  };

  void receive(const std::shared_ptr<FakeLink>& link, std::string_view text,
               std::span<const int> fds);
  messages::Message answer(const messages::Request& request, std::vector<UniqueFd> fds,
                           std::vector<UniqueFd>& answer_fds);

  void load_driver(std::vector<UniqueFd> fds);
  void make_reserve();
  void tell_of_reserve();

  Steps& steps_;
  UniqueFd reserve_watch_;        // a pipe that ends with its other end, which is the reserve
  std::vector<UniqueFd> driver_;  // the files that it has loaded: the library, and the page kernel
  std::weak_ptr<FakeLink> link_;  // to the latest supervisor
  bool is_stopped_ = false;
  std::deque<Waiting> waiting_;
  asio::steady_timer exited_;
};

class FakeLauncher : public WorkerLauncher {
 public:
  FakeLauncher(asio::io_context& io, Steps& steps) : io_(io), steps_(steps) {}

  Result<std::shared_ptr<WorkerLink>> spawn() override;
  std::vector<std::string> find_sockets(const std::string& runtime_directory) const override;
  Result<std::shared_ptr<WorkerLink>> reattach(const std::string& socket) override;
  void remove_socket(const std::string& socket) override { sockets.erase(socket); }

  FakeWorker& latest() { return *workers.back(); }

  std::vector<std::shared_ptr<FakeWorker>> workers;  // all there ever were
  // That many workers die as they start.
  unsigned die_at_start = 0;
  // Whether new workers answer at all.
  bool answer = true;
  // New workers answer this kind of request with this errno, see FakeWorker.
  std::map<std::size_t, int> fails_with;
  std::set<std::uint32_t> stale_segments;
  std::optional<std::size_t> stops_at;
  std::set<std::uint32_t> gives_up_in;
  // The driver that a new worker loads if it is given none; empty: there is none.
  std::string driver_path;
  bool has_page_kernel = false;
  bool fails_with_kept_driver = false;  // new workers cannot start with the files that they get
  bool is_exclusive = false;            // the compute mode of the card
  std::uint64_t context_bytes = 0;      // the size of a context there
  bool has_room = true;                 // for a reserve of that size
  // How many reserves of any worker are held by anybody.
  long reserves_held() const {
    return std::ranges::count_if(workers,
                                 [](const auto& worker) { return worker->is_reserve_held(); });
  }
  std::map<std::string, std::shared_ptr<FakeWorker>> sockets;

 private:
  std::shared_ptr<WorkerLink> connect(const std::shared_ptr<FakeWorker>& worker);

  asio::io_context& io_;
  Steps& steps_;
};

// The index of a kind of request.
template <class T>
std::size_t kind_of() {
  return messages::Request(T{}).index();
}

}  // namespace vramswap::fake
