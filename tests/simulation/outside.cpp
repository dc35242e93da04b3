#include "tests/simulation/outside.hpp"

#include <cerrno>

#include "tests/simulation/process.hpp"
#include "tests/simulation/waiting.hpp"

namespace vramswap::simulation {
namespace {

using namespace std::chrono_literals;

class SimSwapOff : public SwapOff {
 public:
  SimSwapOff(Process& process, std::shared_ptr<SwapOffCall> call)
      : process_(process), call_(std::move(call)), ended_(std::make_shared<Wake>(process.io())) {
    call_->on_end = [ended = ended_] { ended->wake(); };
  }
  ~SimSwapOff() override {
    call_->on_end = [] {};
    if (process_.is_alive()) call_->is_killed = true;
  }
  awaitable<Result<void>> wait() override {
    const auto call = call_;
    const auto ended = ended_;
    while (!call->result) co_await ended->wait();
    co_return *call->result;
  }
  void kill() override {
    if (!process_.enter() || call_->result) return;
    process_.world().note("supervisor: kills swapoff of nbd{}", call_->device);
    process_.world().kernel.kill_swap_off(*call_);
  }

 private:
  Process& process_;
  const std::shared_ptr<SwapOffCall> call_;
  const std::shared_ptr<Wake> ended_;
};

// Of the process that a call on a device is made in: an errno, or 0.
int take_call_error(World& world) {
  int code = world.faults.error_of_new_process(world.now());
  if (code == 0) code = std::exchange(world.faults.swap_call_error, 0);
  if (code != 0) world.clients.disturb();
  return code;
}

}  // namespace

awaitable<Result<void>> SimNbd::open() {
  if (!process_.enter()) co_await never_return(process_);
  co_return Result<void>{};
}
Result<SocketPairs> SimNbd::make_socket_pairs(unsigned count) {
  if (!process_.enter()) return Process::dead();
  return process_.world().kernel.make_socket_pairs(count);
}
Result<std::uint32_t> SimNbd::connect(const netlink::ConnectRequest& request) {
  if (!process_.enter()) return Process::dead();
  return process_.world().kernel.connect(request);
}
Result<void> SimNbd::reconfigure(const netlink::ReconfigureRequest& request) {
  if (!process_.enter()) return Process::dead();
  return process_.world().kernel.reconfigure(request);
}
Result<void> SimNbd::disconnect(std::uint32_t index) {
  if (!process_.enter()) return Process::dead();
  return process_.world().kernel.disconnect(index);
}
Result<std::uint64_t> SimNbd::set_queue(std::uint32_t index, std::uint64_t,
                                        std::chrono::milliseconds) {
  if (!process_.enter()) return Process::dead();
  const Device* device = process_.world().kernel.find(device_path(index));
  if (device == nullptr) return fail_errno(device_name(index), "open", ENOENT);
  return device->request_limit;
}
awaitable<Result<void>> SimNbd::set_request_limit(std::uint32_t index,
                                                  std::uint64_t max_request_bytes) {
  if (!process_.enter()) co_await never_return(process_);
  Device* device = process_.world().kernel.find(device_path(index));
  if (device != nullptr) device->request_limit = max_request_bytes;
  co_return Result<void>{};
}
std::vector<NbdDevice> SimNbd::find_devices(std::string_view prefix) const {
  if (!process_.enter()) return {};
  return process_.world().kernel.find_devices(prefix);
}

Result<std::vector<SwapArea>> SimSwap::areas() const {
  if (!process_.enter()) return Process::dead();
  return process_.world().kernel.areas();
}
Result<MemoryInfo> SimSwap::memory() const {
  if (!process_.enter()) return Process::dead();
  return MemoryInfo{.total_bytes = Memory::kTotalBytes,
                    .available_bytes = process_.world().memory.available()};
}
Result<bool> SimSwap::is_held(std::string device) const {
  if (!process_.enter()) return Process::dead();
  World& world = process_.world();
  if (const int code = take_call_error(world)) return fail_errno(device, "open", code);
  Device* known = world.kernel.find(device);
  if (known == nullptr) return false;
  if (known->is_swap) return true;
  if (!known->is_scanned && known->is_connected) {
    if (world.kernel.server_of(*known) == nullptr) return fail_errno(device, "open", ETIMEDOUT);
    known->is_scanned = true;
  }
  return false;
}

// As a read from the device: it waits for a worker, up to the limit or the device's time-out.
awaitable<Result<void>> SimSwap::wait_until_served(std::string path,
                                                   std::chrono::nanoseconds limit) {
  World& world = process_.world();
  const TimePoint began = world.now();
  for (;;) {
    co_await pass(process_, world.some_latency());
    Device* device = world.kernel.find(path);
    if (device == nullptr) co_return fail_errno(path, "open", ENOENT);
    if (world.kernel.server_of(*device) != nullptr) {
      device->is_scanned = true;
      co_return Result<void>{};
    }
    if (!device->is_connected || world.now() - began > device->dead_timeout) {
      co_return fail_errno(path, "read", EIO);
    }
    if (world.now() - began > limit) co_return fail_errno(path, "read", ETIMEDOUT);
    co_await pass(process_, 100ms);
  }
}

awaitable<Result<void>> SimSwap::make_area(std::string path) {
  if (!process_.enter()) co_await never_return(process_);
  World& world = process_.world();
  if (const int code = take_call_error(world)) co_return fail_errno(path, "mkswap", code);
  if (auto served = co_await wait_until_served(path, 24h); !served) co_return served;
  Device* device = world.kernel.find(path);
  if (device->is_swap) co_return fail_errno(path, "mkswap", EBUSY);
  device->has_signature = true;
  co_return Result<void>{};
}

awaitable<Result<void>> SimSwap::on(std::string path, int priority) {
  if (!process_.enter()) co_await never_return(process_);
  World& world = process_.world();
  if (const int code = take_call_error(world)) co_return fail_errno(path, "swapon", code);
  if (auto served = co_await wait_until_served(path, 24h); !served) co_return served;
  Device* device = world.kernel.find(path);
  if (device->is_swap) co_return fail_errno(path, "swapon", EBUSY);
  if (!device->has_signature) co_return fail_errno(path, "swapon", EINVAL);
  world.kernel.swap_on(*device, priority);
  co_await pass(process_, world.some_latency());
  co_return Result<void>{};
}

Result<std::unique_ptr<SwapOff>> SimSwap::off(std::string path) {
  if (!process_.enter()) return Process::dead();
  World& world = process_.world();
  if (const int code = take_call_error(world)) return fail_errno(path, "swapoff", code);
  Device* device = world.kernel.find(path);
  if (device == nullptr) return fail_errno(path, "swapoff", ENOENT);
  return std::make_unique<SimSwapOff>(process_, world.kernel.swap_off(*device));
}

awaitable<Result<void>> SimSwap::read_page(std::string path, std::uint64_t,
                                           std::chrono::seconds limit) {
  if (!process_.enter()) co_await never_return(process_);
  co_return co_await wait_until_served(path, limit);
}

void SimServiceManager::push_to_fdstore(const std::string& name, int fd) {
  if (!process_.enter()) return;
  if (fd < 0) process_.world().violate(name + " is to be kept, and is not there");
  process_.world().manager.push(name, fd);
}
void SimServiceManager::remove_from_fdstore(const std::string& name) {
  if (process_.enter()) process_.world().manager.remove(name);
}
void SimServiceManager::wait_for_fdstore() {
  process_.enter();
}
awaitable<std::optional<std::size_t>> SimServiceManager::count_fdstore() {
  if (!process_.enter()) co_await never_return(process_);
  World& world = process_.world();
  if (!world.manager.is_there) co_return 0;
  co_await pass(process_, world.some_latency());
  if (world.faults.error_of_new_process(world.now()) != 0) co_return std::nullopt;
  world.note("service manager: keeps {}", world.manager.list());
  co_return world.manager.count();
}
// Who cannot ask takes the swap down.
awaitable<bool> SimServiceManager::is_restarting() {
  if (!process_.enter()) co_await never_return(process_);
  World& world = process_.world();
  if (!world.manager.has_restart_job) co_return false;
  co_await pass(process_, world.some_latency());
  if (world.faults.error_of_new_process(world.now()) == 0) co_return true;
  world.clients.disturb();
  co_return false;
}

awaitable<Result<void>> SimReserve::fill_step() {
  if (!process_.enter()) co_await never_return(process_);
  World& world = process_.world();
  // The kernel waits for memory; a helper thread waits with it.
  while (world.memory.available() < kWorkerBytes && !is_full()) co_await pass(process_, 20ms);
  if (is_full()) co_return Result<void>{};
  held_bytes_ += kWorkerBytes;
  world.memory.reserve_bytes += kWorkerBytes;
  co_return Result<void>{};
}
void SimReserve::release_step() {
  if (held_bytes_ == 0) return;
  held_bytes_ -= kWorkerBytes;
  process_.world().memory.reserve_bytes -= kWorkerBytes;
}
void SimReserve::release() {
  while (held_bytes_ > 0) release_step();
}

void SimLastResort::begin(std::uint64_t needed_bytes) {
  if (process_.enter()) await_next(needed_bytes, ++*uses_);
}
// As its contract says. The kernel then chooses a program, which frees some memory.
void SimLastResort::await_next(std::uint64_t needed_bytes, unsigned use) {
  process_.world().after(10s, [this, uses = uses_, needed_bytes, use] {
    if (*uses != use) return;
    World& world = process_.world();
    if (world.memory.available() < needed_bytes) {
      if (!world.workers.any_is_being_set_up() && !world.workers.any_died_just_now()) {
        world.violate("the OOM killer is called, and no worker is being set up");
      }
      world.note("kernel: the OOM killer kills a program");
      if (!world.kernel.kill_a_swap_off()) world.memory.free_bytes += 16 * kWorkerBytes;
    }
    await_next(needed_bytes, use);
  });
}

Outside::Outside(Process& process)
    : clock(process),
      nbd(process),
      launcher(process),
      swap(process),
      service_manager(process),
      reserve(process),
      last_resort(process),
      machine{process.io(), clock, nbd, launcher, swap, service_manager, reserve, last_resort} {}

}  // namespace vramswap::simulation
