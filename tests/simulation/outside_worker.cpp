// What the supervisor sees of its workers.
#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <csignal>

#include "tests/simulation/outside.hpp"
#include "tests/simulation/process.hpp"
#include "tests/simulation/waiting.hpp"

namespace vramswap::simulation {
namespace {

using namespace std::chrono_literals;

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
    if (!worker_->is_alive || !channel_->is_open_to_supervisor) {
      return fail_errno("worker channel", "sendmsg", EPIPE);
    }
    Packet packet{std::string(text), {}};
    for (const int fd : fds) packet.fds.push_back(duplicate(fd));
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
      if (world.manager.keeps(world.stores, *segment.store)) continue;
      // A new one, of which the answer was lost: nobody has written there.
      if (std::ranges::all_of(segment.store->pages, [](auto page) { return page == 0; })) continue;
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
    Packet& first = channel_->to_supervisor.front();
    if (!first.fds.empty() && faults.no_descriptors_until > process_.world().now()) {
      first.fds.clear();
      first.lacks_fds = true;
    }
    // Only an answer is large.
    const auto is_large = [&] {
      const auto message = messages::decode_message(first.text);
      const bool is_answer =
          !message || !std::holds_alternative<messages::ContextReserve>(*message);
      return !first.fds.empty() && is_answer;
    };
    const bool waits = faults.receive_error == EMSGSIZE && !is_large();
    const int code = waits ? 0 : std::exchange(faults.receive_error, 0);
    if (code != 0) {
      process_.world().note("supervisor: receiving fails with {}", code);
      if (code == EMSGSIZE) channel_->to_supervisor.pop_front();
      woken_->wake();
      return fail_errno("worker channel", "recvmsg", code);
    }
    const auto message = messages::decode_message(first.text);
    const auto* adopted = message ? std::get_if<messages::Adopted>(&*message) : nullptr;
    if (adopted != nullptr && !adopted->description.empty()) process_.note_pool_is_known();
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

Result<std::shared_ptr<WorkerLink>> SimLauncher::spawn() {
  if (!process_.enter()) return Process::dead();
  World& world = process_.world();
  if (const int code = world.faults.error_of_new_process(world.now())) {
    return fail_errno("worker", "fork", code);
  }
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

}  // namespace vramswap::simulation
