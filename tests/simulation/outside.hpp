// The supervisor's interfaces to what is outside, on the simulated machine.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "daemon/supervisor/machine/machine.hpp"
#include "tests/simulation/machine_state.hpp"

namespace vramswap::simulation {

class Process;
class World;

class SimClock : public Clock {
 public:
  explicit SimClock(Process& process) : process_(process) {}
  TimePoint now() const override;
  std::int64_t wall_time() const override { return 1'700'000'000; }
  std::unique_ptr<Timer> make_timer() override;

 private:
  Process& process_;
};

class SimNbd : public NbdDriver {
 public:
  explicit SimNbd(Process& process) : process_(process) {}
  awaitable<Result<void>> open() override;
  Result<SocketPairs> make_socket_pairs(unsigned count) override;
  Result<std::uint32_t> connect(const netlink::ConnectRequest& request) override;
  Result<void> reconfigure(const netlink::ReconfigureRequest& request) override;
  Result<void> disconnect(std::uint32_t index) override;
  Result<std::uint64_t> set_queue(std::uint32_t index, std::uint64_t max_request_bytes,
                                  std::chrono::milliseconds request_timeout) override;
  awaitable<Result<void>> set_request_limit(std::uint32_t index,
                                            std::uint64_t max_request_bytes) override;
  std::vector<NbdDevice> find_devices(std::string_view prefix) const override;

 private:
  Process& process_;
};

class SimSwap : public SwapCalls {
 public:
  explicit SimSwap(Process& process) : process_(process) {}
  Result<std::vector<SwapArea>> areas() const override;
  Result<MemoryInfo> memory() const override;
  // There are no control groups, and no limit to what programs allocate.
  Result<std::optional<MemoryCommitment>> commitment() const override { return std::nullopt; }
  awaitable<std::vector<CgroupExcess>> crowded_groups(std::uint64_t) const override {
    co_return std::vector<CgroupExcess>{};
  }
  awaitable<Result<void>> make_area(std::string device) override;
  awaitable<Result<void>> on(std::string device, int priority) override;
  Result<std::unique_ptr<SwapOff>> off(std::string device) override;
  // How fast it is changes nothing.
  std::unique_ptr<SwapReadAhead> read_ahead(std::string) override { return nullptr; }
  awaitable<Result<void>> read_page(std::string device, std::uint64_t offset,
                                    std::chrono::seconds limit) override;
  Result<bool> is_held(std::string device) const override;

 private:
  awaitable<Result<void>> wait_until_served(std::string device, std::chrono::nanoseconds limit);

  Process& process_;
};

class SimLauncher : public WorkerLauncher {
 public:
  explicit SimLauncher(Process& process) : process_(process) {}
  Result<std::shared_ptr<WorkerLink>> spawn() override;
  std::vector<std::string> find_sockets(const std::string& runtime_directory) const override;
  Result<std::shared_ptr<WorkerLink>> reattach(const std::string& socket) override;
  void remove_socket(const std::string& socket) override;

 private:
  Process& process_;
};

class SimServiceManager : public ServiceManager {
 public:
  explicit SimServiceManager(Process& process) : process_(process) {}
  void notify_ready() override {}
  void notify_stopping() override {}
  bool notify_status(std::string_view) override { return true; }
  void extend_timeout(std::chrono::microseconds) override {}
  void push_to_fdstore(const std::string& name, int fd) override;
  void remove_from_fdstore(const std::string& name) override;
  void wait_for_fdstore() override;
  NamedFds receive_fdstore() override { return {}; }  // handed to the process when it starts
  awaitable<std::optional<std::size_t>> count_fdstore() override;
  awaitable<bool> is_restarting() override;
  awaitable<void> keep_init_out_of_swap() override { co_return; }

 private:
  Process& process_;
};

class SimReserve : public MemoryReserve {
 public:
  explicit SimReserve(Process& process) : process_(process) {}
  ~SimReserve() override { release(); }
  void set_size(std::uint64_t bytes) override { size_bytes_ = bytes; }
  std::uint64_t size_bytes() const override { return size_bytes_; }
  bool is_full() const override { return held_bytes_ >= size_bytes_; }
  bool is_empty() const override { return held_bytes_ == 0; }
  awaitable<Result<void>> fill_step() override;
  void release_step() override;
  void release() override;

 private:
  Process& process_;
  std::uint64_t size_bytes_ = 0;
  std::uint64_t held_bytes_ = 0;
};

class SimLastResort : public LastResort {
 public:
  explicit SimLastResort(Process& process)
      : process_(process), uses_(std::make_shared<unsigned>(0)) {}
  ~SimLastResort() override { ++*uses_; }
  void begin(std::uint64_t needed_bytes) override;
  void end() override { ++*uses_; }

 private:
  void await_next(std::uint64_t needed_bytes, unsigned use);

  Process& process_;
  std::shared_ptr<unsigned> uses_;  // a change of it ends the wait
};

struct Outside {
  explicit Outside(Process& process);

  SimClock clock;
  SimNbd nbd;
  SimLauncher launcher;
  SimSwap swap;
  SimServiceManager service_manager;
  SimReserve reserve;
  SimLastResort last_resort;
  Machine machine;
};

}  // namespace vramswap::simulation
