// The simulated machine: everything outside of the supervisor, in one thread and without real time.
#pragma once

#include <fmt/format.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/simulation/client.hpp"
#include "tests/simulation/kernel.hpp"
#include "tests/simulation/machine_state.hpp"
#include "tests/simulation/random.hpp"
#include "tests/simulation/service_manager.hpp"
#include "tests/simulation/worker.hpp"

namespace vramswap::simulation {

class Process;

// The swap that was up at some moment.
struct SwapBefore {
  std::map<std::string, int> priorities;  // of the devices, by path
  unsigned interferences = 0;
};

class World {
 public:
  using Schedule = std::multimap<TimePoint, std::function<void()>>;

  // `records`: keep the log.
  World(std::uint64_t seed, bool has_service_manager, bool records);
  ~World();
  World(const World&) = delete;

  TimePoint now() const { return now_; }
  Schedule::iterator after(std::chrono::nanoseconds time, std::function<void()> what) {
    return schedule_.emplace(now_ + time, std::move(what));
  }
  Schedule::iterator at(TimePoint time, std::function<void()> what) {
    return schedule_.emplace(std::max(time, now_), std::move(what));
  }
  void forget(Schedule::iterator entry) { schedule_.erase(entry); }
  // Of a system call or a message; each time another one.
  std::chrono::nanoseconds some_latency() {
    return std::chrono::microseconds(50 + random_.below(2000));
  }
  std::uint64_t choose_below(std::uint64_t limit) { return random_.below(limit); }

  // Runs the supervisor until all of it waits.
  void run_ready();
  // What is scheduled next, if it is due by then. False: nothing is.
  bool run_next(TimePoint limit);
  // All that happens within this time.
  void pass(std::chrono::nanoseconds time);
  // Called where anything may happen: before each call that the supervisor makes, and whenever it
  // suspends.
  std::function<void()> on_step = [] {};
  bool is_quiet = false;  // since heal()

  // The first one ends the life.
  void violate(const std::string& what);
  const std::string& violation() const { return violation_; }
  // All bytes are gone, by an event that may do that: the rest of this life says nothing.
  void give_up(const std::string& why);
  bool is_over() const { return is_over_; }

  template <class... Args>
  void note(fmt::format_string<Args...> text, Args&&... args) {
    if (records_) add_to_log(fmt::format(text, std::forward<Args>(args)...));
  }
  void add_to_log(const std::string& line);
  const std::vector<std::string>& log() const { return log_; }

  // The supervisor; at most one lives.
  Process* process() { return process_.get(); }
  unsigned process_number() const { return process_count_; }
  // Starts one where none lives, as a client or the service manager does.
  void ensure_process();
  void kill_process();
  // It has become another program, by exec, or has ended by itself.
  void replace_process(std::map<std::string, UniqueFd> inherited,
                       std::optional<std::size_t> client);
  void on_process_end(const Result<void>& result);

  // The service manager stops the supervisor and starts it again.
  void restart_service();
  // It keeps less than before, or more from now on.
  void change_fdstore(Random random);
  void on_process_ready();
  // Of one that ends by itself: no page goes with it.
  void check_process_may_end();
  // What is there now is there unchanged, and well kept, after a restart in which nothing else
  // happens.
  void restart_and_check();
  // Whether all pages outlive supervisor and workers.
  bool all_is_kept() const;
  // To anybody but the supervisor.
  bool is_pool_known() const { return manager.knows_pool() || workers.any_knows_pool(); }
  // The life ends, where nobody knows the pool because the service manager has dropped it.
  void give_up_forgotten_pool();

  // Whether it is due to an event that bytes of this store are gone when its last descriptor is.
  bool may_be_freed(const Store& store);
  // Stops misbehaving.
  void heal();

  Memory memory;
  Card card;
  Faults faults;
  Stores stores;
  Kernel kernel{*this};
  Workers workers{*this};
  Manager manager;
  Clients clients{*this};

 private:
  void start_process(std::map<std::string, UniqueFd> inherited, std::optional<std::size_t> client);
  void bury();
  void signal_for_restart();
  void check_fdstore();
  // Of the devices that are swap, by path.
  std::map<std::string, int> swap_priorities() const;
  std::map<std::string, pid_t> swap_servers() const;
  void check();

  const bool records_;
  Random random_;
  TimePoint now_ = TimePoint() + std::chrono::hours(1);
  Schedule schedule_;
  std::unique_ptr<Process> process_;
  std::function<void()> successor_;  // starts the program that the process has become
  unsigned process_count_ = 0;       // that were started by anything but exec
  // When the restart began that is not over; only if nobody else takes swap away meanwhile.
  std::optional<SwapBefore> swap_before_;
  bool is_over_ = false;
  std::string violation_;
  std::vector<std::string> log_;
};

}  // namespace vramswap::simulation
