#include "tests/simulation/outside.hpp"

#include <fcntl.h>

#include <cerrno>
#include <csignal>

#include "tests/simulation/process.hpp"

namespace vramswap::simulation {
namespace {

using namespace std::chrono_literals;

// Those who wait are woken once. A process that has died leaves them to its io_context.
class Wake {
 public:
  explicit Wake(asio::io_context& io) : timer_(io, asio::steady_timer::time_point::max()) {}
  awaitable<void> wait() {
    ErrorCode ignored;
    co_await timer_.async_wait(into(ignored));
  }
  void wake() { timer_.cancel(); }

 private:
  asio::steady_timer timer_;
};

class SimTimer : public Timer {
 public:
  explicit SimTimer(Process& process)
      : process_(process), state_(std::make_shared<State>(process.io())) {}
  ~SimTimer() override { forget(); }

  void expires_after(std::chrono::nanoseconds duration) override {
    cancel();
    forget();
    state_->is_over = false;
    entry_ = process_.world().after(duration, [this] {
      entry_.reset();
      state_->is_over = true;
      state_->was_cancelled = false;
      state_->woken.wake();
    });
  }
  void expires_never() override {
    cancel();
    forget();
    state_->is_over = false;
  }
  awaitable<bool> wait() override {
    const auto state = state_;
    if (state->is_over) co_return true;
    state->was_cancelled = false;
    co_await state->woken.wait();
    co_return !state->was_cancelled;
  }
  void cancel() override {
    state_->was_cancelled = true;
    state_->woken.wake();
  }

 private:
  struct State {
    explicit State(asio::io_context& io) : woken(io) {}
    Wake woken;
    bool is_over = false;
    bool was_cancelled = false;
  };
  void forget() {
    if (entry_) process_.world().forget(*entry_);
    entry_.reset();
  }

  Process& process_;
  const std::shared_ptr<State> state_;
  std::optional<World::Schedule::iterator> entry_;
};

// Time passes in the kernel. Nothing: the process is dead, and the call never returns.
awaitable<void> pass(Process& process, std::chrono::nanoseconds time) {
  SimTimer timer(process);
  timer.expires_after(time);
  co_await timer.wait();
}
awaitable<void> never_return(Process& process) {
  const auto wake = std::make_shared<Wake>(process.io());
  co_await wake->wait();
}

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

class SimLink : public WorkerLink {
 public:
  SimLink(Process& process, std::shared_ptr<SimWorker> worker, std::shared_ptr<SimChannel> channel)
      : process_(process),
        worker_(std::move(worker)),
        channel_(std::move(channel)),
        woken_(std::make_shared<Wake>(process.io())) {
    channel_->on_packet = [woken = woken_] { woken->wake(); };
  }
  ~SimLink() override {
    channel_->on_packet = [] {};
    end_channel();
  }

  pid_t pid() const override { return worker_->pid; }
  Result<void> send(std::string_view text, std::span<const int> fds) override {
    if (!process_.enter()) return Process::dead();
    World& world = process_.world();
    if (const int code = std::exchange(world.faults.send_error, 0)) {
      return fail_errno("worker channel", "sendmsg", code);
    }
    if (!worker_->is_alive) return fail_errno("worker channel", "sendmsg", EPIPE);
    Packet packet{std::string(text), {}};
    for (const int fd : fds) packet.fds.emplace_back(fcntl(fd, F_DUPFD_CLOEXEC, 0));
    channel_->to_worker.push_back(std::move(packet));
    worker_->wake_up();
    return {};
  }
  awaitable<Result<std::optional<Packet>>> receive() override {
    // The link may go while it is waited for.
    const auto woken = woken_;
    const auto channel = channel_;
    while (is_open_ && channel->to_supervisor.empty() && channel->is_open_to_supervisor) {
      co_await woken->wait();
    }
    co_return take();
  }
  Result<std::optional<Packet>> receive_now() override { return take(); }
  void close() override {
    if (!process_.enter()) return;
    end_channel();
    woken_->wake();
  }
  bool is_open() const override { return is_open_; }
  awaitable<std::optional<int>> wait_for_exit() override {
    const auto woken = woken_;
    const auto worker = worker_;
    while (worker->is_alive) co_await woken->wait();
    if (worker->child_of != process_.number()) co_return std::nullopt;
    co_return SIGKILL;
  }
  void kill() override {
    if (!process_.enter() || !worker_->is_alive) return;
    World& world = process_.world();
    for (const auto& [id, segment] : worker_->segments) {
      if (!segment.store || segment.store->given_to_process == process_.number()) continue;
      if (world.manager.is_there) continue;
      world.violate(fmt::format("worker {} is killed, and it alone holds store {}", worker_->pid,
                                segment.store->number));
    }
    worker_->go_on();
    worker_->die("killed by the supervisor");
  }
  Result<std::uint64_t> resident_bytes() const override {
    if (!worker_->is_alive) return fail_errno("/proc/PID/status", "open", ENOENT);
    return kWorkerBytes;
  }

 private:
  Result<std::optional<Packet>> take() {
    if (!process_.enter()) return Process::dead();
    if (!is_open_) return std::optional<Packet>();
    if (channel_->to_supervisor.empty()) {
      if (!channel_->is_open_to_supervisor) return std::optional<Packet>();
      return fail_errno("worker channel", "recvmsg", EAGAIN);
    }
    Faults& faults = process_.world().faults;
    int code = std::exchange(faults.receive_error, 0);
    Packet& first = channel_->to_supervisor.front();
    // Their descriptors could not be taken.
    if (!first.fds.empty() && faults.no_descriptors_until > process_.world().now()) code = EMSGSIZE;
    if (code != 0) {
      process_.world().note("supervisor: receiving fails with {}", code);
      if (code == EMSGSIZE) channel_->to_supervisor.pop_front();
      woken_->wake();
      return fail_errno("worker channel", "recvmsg", code);
    }
    std::optional<Packet> packet = std::move(first);
    channel_->to_supervisor.pop_front();
    for (const UniqueFd& fd : packet->fds) {
      if (const auto store = process_.world().stores.find(fd.get())) {
        store->given_to_process = process_.number();
      }
    }
    return packet;
  }
  void end_channel() {
    if (!std::exchange(is_open_, false)) return;
    channel_->is_open_to_worker = false;
    channel_->to_supervisor.clear();
    worker_->wake_up();
  }

  Process& process_;
  const std::shared_ptr<SimWorker> worker_;
  const std::shared_ptr<SimChannel> channel_;
  const std::shared_ptr<Wake> woken_;
  bool is_open_ = true;
};

std::shared_ptr<WorkerLink> connect(Process& process, const std::shared_ptr<SimWorker>& worker) {
  auto channel = std::make_shared<SimChannel>();
  auto link = std::make_shared<SimLink>(process, worker, channel);
  worker->connect(std::move(channel));
  return link;
}

}  // namespace

TimePoint SimClock::now() const {
  return process_.world().now();
}
std::unique_ptr<Timer> SimClock::make_timer() {
  return std::make_unique<SimTimer>(process_);
}

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
Result<void> SimNbd::set_queue(std::uint32_t index, std::uint64_t, std::chrono::milliseconds) {
  if (!process_.enter()) return Process::dead();
  if (process_.world().kernel.find(device_path(index)) == nullptr) {
    return fail_errno(device_name(index), "open", ENOENT);
  }
  return {};
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
  const Device* known = process_.world().kernel.find(device);
  return known != nullptr && known->is_swap;
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
    if (world.kernel.server_of(*device) != nullptr) co_return Result<void>{};
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
  if (const int code = std::exchange(world.faults.swap_call_error, 0)) {
    world.clients.disturb();
    co_return fail_errno(path, "mkswap", code);
  }
  if (auto served = co_await wait_until_served(path, 24h); !served) co_return served;
  Device* device = world.kernel.find(path);
  if (device->is_swap) co_return fail_errno(path, "mkswap", EBUSY);
  device->has_signature = true;
  co_return Result<void>{};
}

awaitable<Result<void>> SimSwap::on(std::string path, int priority) {
  if (!process_.enter()) co_await never_return(process_);
  World& world = process_.world();
  if (const int code = std::exchange(world.faults.swap_call_error, 0)) {
    world.clients.disturb();
    co_return fail_errno(path, "swapon", code);
  }
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
  if (const int code = std::exchange(world.faults.swap_call_error, 0)) {
    world.clients.disturb();
    return fail_errno(path, "swapoff", code);
  }
  Device* device = world.kernel.find(path);
  if (device == nullptr) return fail_errno(path, "swapoff", ENOENT);
  return std::make_unique<SimSwapOff>(process_, world.kernel.swap_off(*device));
}

awaitable<Result<void>> SimSwap::read_page(std::string path, std::uint64_t,
                                           std::chrono::seconds limit) {
  if (!process_.enter()) co_await never_return(process_);
  co_return co_await wait_until_served(path, limit);
}

Result<std::shared_ptr<WorkerLink>> SimLauncher::spawn() {
  if (!process_.enter()) return Process::dead();
  World& world = process_.world();
  if (world.faults.no_descriptors_until > world.now()) {
    return fail_errno("worker", "socketpair", EMFILE);
  }
  if (world.faults.no_processes_until > world.now()) return fail_errno("worker", "fork", EAGAIN);
  auto worker = world.workers.spawn(process_.number());
  world.note("supervisor: starts worker {}", worker->pid);
  return connect(process_, worker);
}

std::vector<std::string> SimLauncher::find_sockets(const std::string&) const {
  if (!process_.enter()) return {};
  return process_.world().workers.sockets();
}

void SimLauncher::remove_socket(const std::string& socket) {
  if (process_.enter()) process_.world().workers.remove_socket(socket);
}

Result<std::shared_ptr<WorkerLink>> SimLauncher::reattach(const std::string& socket) {
  if (!process_.enter()) return Process::dead();
  const auto worker = process_.world().workers.listening_at(socket);
  if (!worker) return fail_errno(socket, "connect", ECONNREFUSED);
  if (!worker->has_room_for_caller()) return fail_errno(socket, "connect", EAGAIN);
  return connect(process_, worker);
}

void SimServiceManager::push_to_fdstore(const std::string& name, int fd) {
  if (process_.enter()) process_.world().manager.push(name, fd);
}
void SimServiceManager::remove_from_fdstore(const std::string& name) {
  if (process_.enter()) process_.world().manager.remove(name);
}
void SimServiceManager::wait_for_fdstore() {
  process_.enter();
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
      if (!world.workers.any_is_being_set_up()) {
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
