// The supervisor on the simulated machine: the real Service and Pool, and what is outside of them.
#pragma once

#include <boost/asio/detail/concurrency_hint.hpp>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "daemon/supervisor/service.hpp"
#include "tests/simulation/outside.hpp"
#include "tests/simulation/world.hpp"

namespace vramswap::simulation {

struct Client;

class Process : public Successor {
 public:
  // `client` asked for the reload that this program comes from.
  Process(World& world, unsigned number);
  ~Process() override;

  void start(std::map<std::string, UniqueFd> inherited, std::optional<std::size_t> client);
  // Hands it a request.
  void handle(Client& client);
  // SIGTERM; further ones change nothing.
  void take_signal();
  // One piece of work. False: all of it waits.
  bool run_one();

  // Each call that the supervisor makes begins with it. False: the process is dead, and the call
  // has no effect.
  bool enter();
  // Ends here, whatever it is doing.
  void die() { is_alive_ = false; }
  // What a call returns to the dead.
  static Error dead() { return {"dead"}; }

  bool is_alive() const { return is_alive_; }
  bool is_signalled() const { return is_signalled_; }
  bool is_ready() const { return is_ready_ && is_alive_; }
  // Only once it is.
  TimePoint ready_since() const { return ready_since_; }
  bool knows_pool() const { return service_->is_up(); }
  // A worker has told it of the pool, and may die now.
  void note_pool_is_known() { has_heard_of_pool_ = true; }
  bool has_heard_of_pool() const { return has_heard_of_pool_; }
  bool has_nothing_up() const { return is_ready() && !service_->is_up() && !service_->is_busy(); }
  unsigned number() const { return number_; }
  World& world() { return world_; }
  asio::io_context& io() { return io_; }

  std::string path() const override { return "/usr/sbin/vramswapd"; }
  awaitable<Result<void>> ask_to_take_over(int handover_version) override;
  Error become(NamedFds fds) override;

 private:
  awaitable<void> run(NamedFds inherited, std::optional<std::size_t> client);
  void keep_program();

  World& world_;
  const unsigned number_;
  bool is_alive_ = true;
  bool is_ready_ = false;
  TimePoint ready_since_{};
  bool is_signalled_ = false;
  bool has_heard_of_pool_ = false;
  asio::io_context io_{BOOST_ASIO_CONCURRENCY_HINT_UNSAFE};  // there is one thread
  Outside outside_;
  std::unique_ptr<Service> service_;
};

}  // namespace vramswap::simulation
