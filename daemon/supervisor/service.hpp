// What the daemon does for its clients and at a signal.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/supervisor/machine/successor.hpp"
#include "daemon/supervisor/pool/gate.hpp"
#include "daemon/supervisor/pool/pool.hpp"
#include "daemon/supervisor/session.hpp"

namespace vramswap {

// Of everything that outlives a process: what is handed to a worker, kept by it, or kept for the
// next supervisor. A program takes over from one of the same version only.
int handover_version();

class Service {
 public:
  struct Options {
    // The pool goes with the client that asked for it.
    bool ends_with_client = false;
    PoolOptions pool;
    std::size_t fds_beside_pool = 0;  // what else the service manager is given to keep
  };
  // How the daemon ends: at first it refuses clients, then it is over.
  struct Exit {
    std::function<void()> refuse_clients;
    std::function<void()> end;
  };

  Service(Machine& machine, Successor& successor, Options options, Exit exit);
  Service(const Service&) = delete;

  // Before anybody can ask: a client that does hears of all there is. See Pool::adopt and
  // disconnect_leftovers.
  awaitable<Result<void>> take_over(NamedFds inherited);
  // Answers with one reply, after progress.
  awaitable<void> handle(control::Request request, std::shared_ptr<Session> session);
  // The rest of a reload, in the new program: its workers become this program, too.
  awaitable<void> finish_reload(std::shared_ptr<Session> session);
  // Takes the swap down and ends, or only ends where the service manager starts it again. Tries
  // until the pages fit: at a shutdown they do when enough programs have ended.
  awaitable<void> stop();
  // Without swap the daemon ends, some time after its start.
  awaitable<void> end_if_never_used();

  bool is_up() const { return pool_.is_up(); }
  bool is_busy() const { return pool_.is_busy(); }

 private:
  using Reply = Result<control::Reply>;

  Result<void> check_may(const control::Request& request, Session& session) const;
  bool has_nothing_to_lend() const;
  awaitable<Reply> answer(const control::UpRequest& up, std::shared_ptr<Session> session);
  awaitable<Reply> answer(const control::DownRequest& down, std::shared_ptr<Session> session);
  awaitable<Reply> answer(const control::StatusRequest& status, std::shared_ptr<Session> session);
  awaitable<Reply> answer(const control::LendRequest& lend, std::shared_ptr<Session> session);
  awaitable<Reply> answer(const control::TakeBackRequest& take_back);
  awaitable<Reply> answer(const control::ReloadRequest& reload, std::shared_ptr<Session> session);
  awaitable<Result<void>> reload(std::shared_ptr<Session> session);
  awaitable<Reply> status() const;
  awaitable<Reply> shared_status();
  awaitable<bool> compare_fdstore();
  awaitable<void> compare_fdstore_after_recovery();
  awaitable<bool> may_leave_swap_up();
  awaitable<void> keep_workers_running();
  void end_if_nothing_is_up();

  Machine& machine_;
  Successor& successor_;
  const Options options_;
  const Exit exit_;
  Pool pool_;
  // The client that the pool is there for. The end of this connection tells it that the pool is
  // gone.
  std::shared_ptr<Session> owner_;
  std::vector<std::string> notes_;
  Gate collecting_;
  std::optional<Reply> shared_status_;
  Clock::TimePoint shared_since_;
};

// What a supervisor passes on to its successor beside its pool's memory: the client that asked for
// the reload.
inline constexpr const char* kClientName = "client";

}  // namespace vramswap
