#include "daemon/supervisor/supervisor.hpp"

#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <csignal>

#include "daemon/control/daemon_arguments.hpp"
#include "daemon/supervisor/control_server.hpp"
#include "daemon/supervisor/machine/inherited_fds.hpp"
#include "daemon/supervisor/machine/installed_program.hpp"
#include "daemon/supervisor/machine/old_program.hpp"
#include "daemon/supervisor/machine/runtime_lock.hpp"
#include "daemon/supervisor/service.hpp"
#include "daemon/supervisor/spawn.hpp"
#include "daemon/system/hardening.hpp"
#include "daemon/system/log.hpp"
#include "daemon/system/own_program.hpp"
#include "daemon/system/self_resume.hpp"

namespace vramswap {
namespace {

// A daemon that ends holds the lock until its last system call.
constexpr std::chrono::seconds kLockTimeout{5};
// Before the client gives up that has started the daemon: until then it sees what goes wrong.
constexpr std::chrono::seconds kDetachTimeout{10};
// What a supervisor passes on to its successor beside what its service does.
const std::string kLockName = "lock";

// 16 segments of 64 connections are more than the usual soft limit of 1024 descriptors. The worker
// inherits it.
void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

// What the installed program is started with, beside what it inherits.
std::vector<std::string> arguments_of(const SupervisorOptions& options) {
  std::vector<std::string> arguments;
  if (options.detached) arguments.emplace_back(kDetachedOption);
  if (options.ends_with_client) arguments.emplace_back(kScratchOption);
  return arguments;
}

// The successor holds the lock, too.
class LockedProgram : public InstalledProgram {
 public:
  LockedProgram(asio::io_context& io, std::vector<std::string> arguments, const UniqueFd& lock)
      : InstalledProgram(io, std::move(arguments)), lock_(lock) {}
  Error become(NamedFds fds) override {
    if (auto added = add_lock(fds); !added) return added.error();
    return InstalledProgram::become(std::move(fds));
  }
  Error become(int program, NamedFds fds) {
    if (auto added = add_lock(fds); !added) return added.error();
    return InstalledProgram::become(program, std::move(fds));
  }

 private:
  Result<void> add_lock(NamedFds& fds) const {
    fds[kLockName] = lock_.duplicate();
    if (!fds[kLockName]) return fail_errno("lock", "dup", errno);
    return {};
  }

  const UniqueFd& lock_;
};

class Supervisor {
 public:
  Supervisor(Machine& machine, SupervisorOptions options)
      : options_(std::move(options)),
        machine_(machine),
        io_(machine.io),
        signals_(io_, SIGTERM, SIGINT),
        program_(io_, arguments_of(options_), lock_),
        service_(machine, program_,
                 {.ends_with_client = options_.ends_with_client,
                  .pool = options_.pool,
                  .fds_beside_pool = 1},  // see keep_program()
                 {.refuse_clients = [this] { server_->close(); }, .end = [this] { io_.stop(); }}) {}

  Result<void> run();

 private:
  awaitable<void> start(NamedFds inherited);
  awaitable<Result<void>> take_over(NamedFds inherited);
  void keep_program() const;
  Error give_way(Error refused);
  awaitable<void> handle_signals();
  awaitable<void> detach_if_late();
  void detach();

  const SupervisorOptions options_;
  UniqueFd lock_;
  // What the service manager kept, until this program has taken over; for the old one if it cannot.
  NamedFds kept_;
  bool is_detached_ = false;
  Result<void> started_;
  Machine& machine_;
  asio::io_context& io_;
  asio::signal_set signals_;
  LockedProgram program_;
  Service service_;
  std::unique_ptr<ControlServer> server_;
};

Result<void> Supervisor::run() {
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGHUP, SIG_IGN);
  umask(022);  // anyone may ask for status
  raise_descriptor_limit();
  NamedFds inherited = machine_.service_manager.receive_fdstore();
  if (!options_.inherited.empty()) {
    auto passed_on = parse_passed_on(options_.inherited);
    if (!passed_on) return passed_on.error();
    inherited = *std::move(passed_on);
  }
  if (options_.inherited.empty()) {
    for (const auto& [name, fd] : inherited) kept_[name] = fd.duplicate();
  }
  inherited.erase(kProgramName);
  lock_ = std::move(inherited[kLockName]);
  if (!lock_) {
    auto lock = lock_runtime_directory(options_.pool.runtime_directory, kLockTimeout);
    if (!lock) return lock.error();
    lock_ = *std::move(lock);
  }
  started_ = harden_process();
  if (started_) started_ = make_realtime("supervisor");
  if (started_) {
    keep_heap();
    spawn(io_, start(std::move(inherited)));
    io_.run();
  }
  if (!started_ && started_.error().code == EPROTO) started_ = give_way(started_.error());
  // Before the connections end: who waits for that may start the next one at once.
  if (options_.ends_with_client) rmdir(options_.pool.runtime_directory.c_str());
  return started_;
}

// For the next supervisor, should an upgrade have put a program there that cannot take over.
void Supervisor::keep_program() const {
  const auto own = own_program();
  if (!own) return log_error(own.error().message);
  machine_.service_manager.remove_from_fdstore(kProgramName);
  machine_.service_manager.push_to_fdstore(kProgramName, *own);
}

// What is up belongs to another version, whose program goes on in this process. Returns only if
// that cannot be. A program that was executed by another one does not do so: two programs would
// execute each other for ever.
Error Supervisor::give_way(Error refused) {
  if (!options_.inherited.empty()) return refused;
  const UniqueFd program =
      find_old_program(std::move(kept_[kProgramName]), options_.pool.runtime_directory);
  if (!program) return refused;
  kept_.erase(kProgramName);
  log_info(fmt::format("{}. Executing that version's program, which is no longer installed",
                       refused.message));
  const Error error = program_.become(program.get(), std::move(kept_));
  return {fmt::format("{}; that version's program cannot be started: {}", refused.message,
                      error.message),
          refused.code};
}

// Whoever started the daemon may wait for the end of what it writes to.
void Supervisor::detach() {
  if (options_.detached && !std::exchange(is_detached_, true)) detach_log();
}

// A worker that stands still may keep it from taking over for ever.
awaitable<void> Supervisor::detach_if_late() {
  co_await machine_.clock.sleep(kDetachTimeout);
  detach();
}

awaitable<void> Supervisor::start(NamedFds inherited) {
  spawn(io_, detach_if_late());
  UniqueFd client = std::move(inherited[kClientName]);
  started_ = co_await take_over(std::move(inherited));
  if (!started_) {
    io_.stop();
    co_return;
  }
  spawn(io_, handle_signals());
  spawn(io_, service_.end_if_never_used());
  detach();
  kept_.clear();
  keep_program();
  machine_.service_manager.notify_ready();
  if (!client) co_return;
  // Only root could ask for it.
  const auto session = ControlSession::create(machine_, std::move(client), 0, nullptr);
  if (!session) co_return log_error(session.error().message);
  co_await service_.finish_reload(*session);
}

awaitable<Result<void>> Supervisor::take_over(NamedFds inherited) {
  if (auto taken = co_await service_.take_over(std::move(inherited)); !taken) co_return taken;
  auto server = ControlServer::listen(
      machine_, control_path(options_.pool.runtime_directory),
      [this](control::Request request, std::shared_ptr<ControlSession> session) {
        return service_.handle(std::move(request), std::move(session));
      });
  if (!server) co_return server.error();
  server_ = *std::move(server);
  co_return Result<void>{};
}

awaitable<void> Supervisor::handle_signals() {
  ErrorCode error;
  const int signal = co_await signals_.async_wait(into(error));
  if (error) co_return;
  log_info(fmt::format("SIG{}: taking the swap down", sigabbrev_np(signal)));
  // Sent by systemd, it may be the beginning of a shutdown.
  if (auto resumes = resume_every_second(); !resumes) log_error(resumes.error().message);
  // Further ones change nothing: it goes on until it is done.
  co_await service_.stop();
}

}  // namespace

Result<void> run_supervisor(Machine& machine, SupervisorOptions options) {
  return Supervisor(machine, std::move(options)).run();
}

}  // namespace vramswap
