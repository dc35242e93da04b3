#include "daemon/supervisor/supervisor.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/close_range.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <limits>
#include <thread>

#include "daemon/control/daemon_arguments.hpp"
#include "daemon/handover/messages.hpp"
#include "daemon/supervisor/control_server.hpp"
#include "daemon/supervisor/machine/child.hpp"
#include "daemon/supervisor/machine/inherited_fds.hpp"
#include "daemon/supervisor/pool/adopt.hpp"
#include "daemon/supervisor/pool/pool.hpp"
#include "daemon/system/hardening.hpp"
#include "daemon/system/log.hpp"

namespace vramswap {
namespace {

// A daemon that ends holds the lock until its last system call.
constexpr std::chrono::seconds kLockTimeout{5};
constexpr std::chrono::milliseconds kLockPoll{50};
// Without swap the daemon ends; this long after its start somebody should have said `up`.
constexpr std::chrono::seconds kIdleTimeout{30};
// What a supervisor passes on beside its pool's memory.
const std::string kLockName = "lock";
const std::string kClientName = "client";  // that asked for the reload
// Between two attempts to take the swap down: programs end and give memory back.
constexpr std::chrono::seconds kStopInterval{1};
// What a swapoff that gets on is given beyond systemd's limit; one that hangs gets nothing.
constexpr std::chrono::seconds kStopExtension{30};

// One supervisor at a time: a lock on the directory, which goes with its holder.
Result<UniqueFd> lock_runtime_directory(const std::string& path) {
  if (mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) return fail_errno(path, "mkdir", errno);
  UniqueFd directory(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory) return fail_errno(path, "open", errno);
  const auto deadline = std::chrono::steady_clock::now() + kLockTimeout;
  while (flock(directory.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return fail_errno(path, "flock", errno);
    if (std::chrono::steady_clock::now() > deadline) {
      return fail(fmt::format("{}: another vramswapd runs", path));
    }
    std::this_thread::sleep_for(kLockPoll);
  }
  return directory;
}

// 16 segments of 64 connections are more than the usual soft limit of 1024 descriptors. The worker
// inherits it.
void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

class Supervisor {
 public:
  Supervisor(Machine& machine, SupervisorOptions options)
      : options_(std::move(options)),
        machine_(machine),
        io_(machine.io),
        signals_(io_, SIGTERM, SIGINT),
        pool_(machine, options_.pool) {}

  Result<void> run();

 private:
  using Session = std::shared_ptr<ControlSession>;

  awaitable<void> start(NamedFds inherited);
  awaitable<Result<void>> take_over(NamedFds inherited);
  awaitable<void> handle(control::Request request, Session session);
  awaitable<Result<control::Reply>> answer(const control::UpRequest& up, Session session);
  awaitable<Result<control::Reply>> answer(const control::DownRequest& down, Session session);
  awaitable<Result<control::Reply>> answer(const control::StatusRequest& status, Session session);
  awaitable<Result<control::Reply>> answer(const control::ReloadRequest& reload, Session session);
  awaitable<void> finish_reload(Session session);
  Error become_program(Session session);
  awaitable<Result<control::Reply>> status() const;

  awaitable<void> handle_signals();
  awaitable<void> stop();
  awaitable<void> end_if_never_used();
  void end_if_nothing_is_up();

  const SupervisorOptions options_;
  // As it was when this process began: an upgrade puts another file there.
  const std::string program_ = std::filesystem::read_symlink("/proc/self/exe");
  UniqueFd lock_;
  Result<void> started_;
  Machine& machine_;
  asio::io_context& io_;
  asio::signal_set signals_;
  Pool pool_;
  std::unique_ptr<ControlServer> server_;
  // The client that the pool is there for. The end of this connection tells it that the pool is
  // gone.
  Session owner_;
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
  lock_ = std::move(inherited[kLockName]);
  if (!lock_) {
    auto lock = lock_runtime_directory(options_.pool.runtime_directory);
    if (!lock) return lock.error();
    lock_ = *std::move(lock);
  }
  started_ = harden_process();
  if (started_) {
    asio::co_spawn(io_, start(std::move(inherited)), asio::detached);
    io_.run();
  }
  // Before the connections end: who waits for that may start the next one at once.
  if (options_.ends_with_client) rmdir(options_.pool.runtime_directory.c_str());
  return started_;
}

awaitable<void> Supervisor::start(NamedFds inherited) {
  const int client = inherited[kClientName].release();
  started_ = co_await take_over(std::move(inherited));
  if (!started_) {
    io_.stop();
    co_return;
  }
  asio::co_spawn(io_, handle_signals(), asio::detached);
  asio::co_spawn(io_, end_if_never_used(), asio::detached);
  if (options_.detached) detach_log();
  machine_.service_manager.notify_ready();
  if (client < 0) co_return;
  asio::local::stream_protocol::socket socket(io_, asio::local::stream_protocol(), client);
  co_await finish_reload(std::make_shared<ControlSession>(std::move(socket), true));
}

awaitable<Result<void>> Supervisor::take_over(NamedFds inherited) {
  // Before anybody can ask: a client that does hears of all there is.
  if (auto adopted = co_await pool_.adopt(std::move(inherited)); !adopted) co_return adopted;
  auto clean = co_await disconnect_leftovers(machine_, options_.pool.device_prefix,
                                             pool_.identifier_prefix());
  if (!clean) co_return clean;
  auto server = ControlServer::listen(io_, options_.pool.runtime_directory + "/control",
                                      [this](control::Request request, Session session) {
                                        return handle(std::move(request), std::move(session));
                                      });
  if (!server) co_return server.error();
  server_ = *std::move(server);
  co_return Result<void>{};
}

awaitable<void> Supervisor::handle(control::Request request, Session session) {
  if (!std::holds_alternative<control::StatusRequest>(request) && !session->is_root()) {
    session->send(control::Failure{"only root may change the swap: run it with sudo"});
    co_return;
  }
  Result<control::Reply> reply = control::Reply{control::Done{}};
  if (const auto* up = std::get_if<control::UpRequest>(&request)) {
    reply = co_await answer(*up, session);
  } else if (const auto* down = std::get_if<control::DownRequest>(&request)) {
    reply = co_await answer(*down, session);
  } else if (const auto* reload = std::get_if<control::ReloadRequest>(&request)) {
    reply = co_await answer(*reload, session);
  } else {
    reply = co_await answer(control::StatusRequest{}, session);
  }
  const bool may_be_last = std::holds_alternative<control::UpRequest>(request) ||
                           std::holds_alternative<control::DownRequest>(request);
  const bool is_last = may_be_last && !pool_.is_up() && !pool_.is_busy();
  // Before the reply: who reads it may start another daemon.
  if (is_last) server_->close();
  session->send(reply ? *reply : control::Failure{reply.error().message});
  co_await session->flush();
  if (is_last) end_if_nothing_is_up();
}

awaitable<Result<control::Reply>> Supervisor::answer(const control::UpRequest& up,
                                                     Session session) {
  const auto result = co_await pool_.up(up);
  if (!result) {
    log_error(fmt::format("up: {}", result.error().message));
    co_return result.error();
  }
  machine_.service_manager.notify_status("swap is up");
  if (options_.ends_with_client) {
    // Also if the client has gone by now.
    owner_ = session;
    session->watch([this] { asio::co_spawn(io_, stop(), asio::detached); });
  }
  co_return co_await status();
}

awaitable<Result<control::Reply>> Supervisor::answer(const control::DownRequest& down,
                                                     Session session) {
  session->watch([this] { pool_.cancel_down(); });
  const auto result = co_await pool_.down(
      down.force, [session](const control::Progress& progress) { session->send(progress); });
  // Before the watch ends: that cancels what is still being written, too.
  co_await session->flush();
  session->stop_watching();
  if (!result) {
    log_error(fmt::format("down: {}", result.error().message));
    co_return result.error();
  }
  co_return control::Reply{control::Done{}};
}

awaitable<Result<control::Reply>> Supervisor::answer(const control::StatusRequest&, Session) {
  co_return co_await status();
}

// Answers only if it was refused: what answers otherwise is the new program.
awaitable<Result<control::Reply>> Supervisor::answer(const control::ReloadRequest&,
                                                     Session session) {
  if (pool_.is_busy()) co_return fail("an up or down is in progress: reload when it is over");
  std::vector<std::string> question{program_, kTakesOverFromOption,
                                    fmt::format("{}", handover_version())};
  if (auto asked = co_await run_program(io_, std::move(question)); !asked) {
    log_error(fmt::format("reload: refused: {}", asked.error().message));
    co_return fail(fmt::format("{}; the old program runs on", asked.error().message));
  }
  const Error error = become_program(session);
  log_error(fmt::format("reload: {}", error.message));
  co_return std::unexpected(error);
}

// Workers and kernel take it for the death of one supervisor and the start of the next. Should a
// worker die at this moment, too, the memory is still held here.
Error Supervisor::become_program(Session session) {
  NamedFds fds = pool_.handover_fds();
  fds[kLockName] = lock_.duplicate();
  fds[kClientName] = session->duplicate();
  // Asio opens its sockets without the flag.
  close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);
  std::vector<std::string> arguments{kDaemonArgument0, kInheritOption, pass_on(fds)};
  if (options_.detached) arguments.emplace_back(kDetachedOption);
  if (options_.ends_with_client) arguments.emplace_back(kScratchOption);
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  execv(program_.c_str(), argv.data());
  return errno_error(program_, "execv", errno);
}

// In the new program.
awaitable<void> Supervisor::finish_reload(Session session) {
  const auto replaced = co_await pool_.replace_workers(program_);
  if (replaced) {
    const auto now = co_await status();
    session->send(now ? *now : control::Failure{now.error().message});
  } else {
    log_error(fmt::format("reload: {}", replaced.error().message));
    session->send(control::Failure{
        fmt::format("the daemon was replaced, but not its worker: {}", replaced.error().message)});
  }
  co_await session->flush();
}

awaitable<Result<control::Reply>> Supervisor::status() const {
  co_await pool_.refresh_stats();
  auto segments = pool_.segments();
  if (!segments) co_return segments.error();
  co_return control::Status{.version = VRAMSWAP_VERSION,
                            .supervisor_pid = getpid(),
                            .segments = *std::move(segments),
                            .workers = pool_.workers()};
}

awaitable<void> Supervisor::handle_signals() {
  ErrorCode error;
  const int signal = co_await signals_.async_wait(into(error));
  if (error) co_return;
  log_info(fmt::format("SIG{}: taking the swap down", sigabbrev_np(signal)));
  // Further ones change nothing: it goes on until it is done.
  co_await stop();
}

// Tries until the pages fit: at a shutdown they do when enough programs have ended.
awaitable<void> Supervisor::stop() {
  machine_.service_manager.notify_stopping();
  auto least_left = std::numeric_limits<std::uint64_t>::max();
  // An attempt that fails puts back what it had done: only one that gets further than all before it
  // is given more time, so that there is an end to it.
  const auto extend_if_further = [&](const control::Progress& progress) {
    const std::uint64_t left = progress.total_bytes - progress.done_bytes;
    if (left < least_left) machine_.service_manager.extend_timeout(kStopExtension);
    least_left = std::min(least_left, left);
  };
  bool is_logged = false;
  while (pool_.is_up() || pool_.is_busy()) {
    const auto result = co_await pool_.down(false, extend_if_further);
    if (result) break;
    const std::string waiting = fmt::format("cannot stop yet: {}", result.error().message);
    machine_.service_manager.notify_status(waiting);
    if (!is_logged) log_error(waiting);
    is_logged = true;
    co_await machine_.clock.sleep(kStopInterval);
  }
  end_if_nothing_is_up();
}

awaitable<void> Supervisor::end_if_never_used() {
  co_await machine_.clock.sleep(kIdleTimeout);
  end_if_nothing_is_up();
}

void Supervisor::end_if_nothing_is_up() {
  if (pool_.is_up() || pool_.is_busy()) return;
  server_->close();
  io_.stop();
}

}  // namespace

int handover_version() {
  return messages::kVersion;
}

Result<void> run_supervisor(Machine& machine, SupervisorOptions options) {
  return Supervisor(machine, std::move(options)).run();
}

}  // namespace vramswap
