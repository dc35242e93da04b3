#include "tests/simulation/process.hpp"

#include <fcntl.h>
#include <sys/mman.h>

#include "daemon/supervisor/machine/old_program.hpp"
#include "daemon/supervisor/spawn.hpp"

namespace vramswap::simulation {
namespace {

using namespace std::chrono_literals;

PoolOptions pool_options(World& world) {
  return {
      .runtime_directory = "/run/vramswap",
      .device_prefix = "vramswap-",
      .default_connections = 2,
      .make_pool_id = [&world] { return static_cast<std::uint32_t>(world.choose_below(1U << 31)); },
      .page_map_memory = HostMemory::swappable};
}

class SimSession : public Session, public std::enable_shared_from_this<SimSession> {
 public:
  SimSession(Process& process, Client& client) : process_(process), client_(client) {}

  bool is_root() const override { return true; }
  void send(const control::Reply& reply) override {
    if (process_.enter()) process_.world().clients.take_reply(client_, reply);
  }
  awaitable<void> flush() override {
    process_.enter();
    co_return;
  }
  void watch(std::function<void()> closed) override {
    if (!process_.is_alive()) return;
    // It stays until then.
    client_.on_gone = [self = shared_from_this(), closed = std::move(closed)] {
      asio::post(self->process_.io(), closed);
    };
    if (client_.is_gone) std::exchange(client_.on_gone, nullptr)();
  }
  void stop_watching() override { client_.on_gone = nullptr; }
  // The number goes with the world.
  UniqueFd duplicate() override {
    if (!process_.enter()) return {};
    process_.world().clients.reloading = client_.number;
    return UniqueFd(open("/dev/null", O_RDONLY | O_CLOEXEC));
  }

 private:
  Process& process_;
  Client& client_;
};

}  // namespace

Process::Process(World& world, unsigned number) : world_(world), number_(number), outside_(*this) {
  service_ = std::make_unique<Service>(
      outside_.machine, *this,
      Service::Options{
          .ends_with_client = false, .pool = pool_options(world), .fds_beside_pool = 1},
      Service::Exit{.refuse_clients = [this] { is_ready_ = false; },
                    .end =
                        [this] {
                          if (!enter()) return;
                          world_.note("supervisor: ends");
                          world_.check_process_may_end();
                          die();
                          world_.on_process_end({});
                        }});
}

Process::~Process() = default;

void Process::start(std::map<std::string, UniqueFd> inherited, std::optional<std::size_t> client) {
  for (const auto& [name, fd] : inherited) {
    const auto store = world_.stores.find(fd.get());
    // A segment's store is of use only with its page map.
    const std::string page_map = page_map_of(name);
    const bool is_of_use = page_map.empty() || inherited.contains(page_map);
    if (store && is_of_use) store->given_to_process = number_;
  }
  spawn(io_, run(std::move(inherited), client));
}

awaitable<void> Process::run(NamedFds inherited, std::optional<std::size_t> client) {
  inherited.erase(kProgramName);
  const auto taken = co_await service_->take_over(std::move(inherited));
  if (!enter()) co_return;
  if (!taken) {
    world_.note("supervisor: cannot start: {}", taken.error().message);
    die();
    world_.on_process_end(taken);
    co_return;
  }
  is_ready_ = true;
  ready_since_ = world_.now();
  world_.note("supervisor: is ready");
  world_.on_process_ready();
  keep_program();
  if (is_signalled_) spawn(io_, service_->stop());
  spawn(io_, service_->end_if_never_used());
  world_.clients.on_supervisor_ready();
  if (!client) co_return;
  co_await service_->finish_reload(std::make_shared<SimSession>(*this, world_.clients.at(*client)));
}

void Process::handle(Client& client) {
  spawn(io_, service_->handle(client.request, std::make_shared<SimSession>(*this, client)));
}

void Process::take_signal() {
  if (!is_alive_ || std::exchange(is_signalled_, true)) return;
  world_.note("supervisor: SIGTERM");
  if (is_ready_) spawn(io_, service_->stop());
}

// As Supervisor does.
void Process::keep_program() {
  const UniqueFd program(memfd_create("vramswapd", MFD_CLOEXEC));
  outside_.service_manager.remove_from_fdstore(kProgramName);
  outside_.service_manager.push_to_fdstore(kProgramName, program.get());
}

bool Process::run_one() {
  io_.restart();
  return io_.poll_one() > 0;
}

bool Process::enter() {
  if (is_alive_) world_.on_step();
  return is_alive_;
}

awaitable<Result<void>> Process::ask_to_take_over(int) {
  if (!enter()) co_return dead();
  const auto timer = outside_.clock.make_timer();
  timer->expires_after(30ms);
  co_await timer->wait();
  co_return Result<void>{};
}

Error Process::become(NamedFds fds) {
  if (!enter()) return dead();
  world_.note("supervisor: becomes the installed program");
  die();
  fds.erase(kClientName);
  world_.replace_process(std::move(fds), world_.clients.reloading);
  return dead();
}

}  // namespace vramswap::simulation
