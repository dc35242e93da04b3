#include "daemon/supervisor/supervisor.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <thread>

#include "daemon/supervisor/control_server.hpp"
#include "daemon/supervisor/leftovers.hpp"
#include "daemon/supervisor/notify.hpp"
#include "daemon/supervisor/pool.hpp"
#include "daemon/system/hardening.hpp"
#include "daemon/system/log.hpp"

namespace vramswap {
namespace {

// A daemon that ends holds the lock until its last system call.
constexpr std::chrono::seconds kLockTimeout{5};
constexpr std::chrono::milliseconds kLockPoll{50};
// Without swap the daemon ends; this long after its start somebody should have said `up`.
constexpr std::chrono::seconds kIdleTimeout{30};
// Who presses Ctrl-C twice, or sends TERM again because nothing seems to happen, means one stop.
constexpr std::chrono::seconds kSignalPause{10};

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
  Supervisor() : signals_(io_, SIGTERM, SIGINT), idle_(io_), pool_(io_) {}

  Result<void> run(const SupervisorOptions& options);

 private:
  using Session = std::shared_ptr<ControlSession>;

  awaitable<void> handle(control::Request request, Session session);
  awaitable<Result<control::Reply>> answer(const control::UpRequest& up, Session session);
  awaitable<Result<control::Reply>> answer(const control::DownRequest& down, Session session);
  awaitable<Result<control::Reply>> answer(const control::StatusRequest& status, Session session);
  Result<control::Reply> status() const;

  awaitable<void> handle_signals();
  awaitable<void> stop();
  awaitable<void> end_if_never_used();
  void end_if_nothing_is_up();

  asio::io_context io_{1};
  asio::signal_set signals_;
  asio::steady_timer idle_;
  Pool pool_;
  std::unique_ptr<ControlServer> server_;
};

Result<void> Supervisor::run(const SupervisorOptions& options) {
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGHUP, SIG_IGN);
  umask(022);  // anyone may ask for status
  raise_descriptor_limit();
  const std::string& directory = options.runtime_directory;
  const auto lock = lock_runtime_directory(directory);
  if (!lock) return std::unexpected(lock.error());
  if (auto hardened = harden_process(); !hardened) return hardened;
  if (auto clean = disconnect_leftovers(); !clean) return clean;
  auto server = ControlServer::listen(io_, directory + "/control",
                                      [this](control::Request request, Session session) {
                                        return handle(std::move(request), std::move(session));
                                      });
  if (!server) return std::unexpected(server.error());
  server_ = *std::move(server);
  asio::co_spawn(io_, handle_signals(), asio::detached);
  asio::co_spawn(io_, end_if_never_used(), asio::detached);
  if (options.detached) detach_log();
  notify_ready();
  io_.run();
  return {};
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
  } else {
    reply = co_await answer(control::StatusRequest{}, session);
  }
  const bool changes = !std::holds_alternative<control::StatusRequest>(request);
  const bool is_last = changes && !pool_.is_up() && !pool_.is_busy();
  // Before the reply: who reads it may start another daemon.
  if (is_last) server_->close();
  session->send(reply ? *reply : control::Failure{reply.error().message});
  co_await session->flush();
  if (is_last) end_if_nothing_is_up();
}

awaitable<Result<control::Reply>> Supervisor::answer(const control::UpRequest& up, Session) {
  const auto result = co_await pool_.up(up);
  if (!result) {
    log_error(fmt::format("up: {}", result.error().message));
    co_return std::unexpected(result.error());
  }
  notify_status("swap is up");
  co_return status();
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
    co_return std::unexpected(result.error());
  }
  co_return control::Reply{control::Done{}};
}

awaitable<Result<control::Reply>> Supervisor::answer(const control::StatusRequest&, Session) {
  co_return status();
}

Result<control::Reply> Supervisor::status() const {
  auto segments = pool_.status();
  if (!segments) return std::unexpected(segments.error());
  return control::Status{
      .version = VRAMSWAP_VERSION, .supervisor_pid = getpid(), .segments = *std::move(segments)};
}

awaitable<void> Supervisor::handle_signals() {
  auto ignore_until = std::chrono::steady_clock::time_point::min();
  for (;;) {
    ErrorCode error;
    const int signal = co_await signals_.async_wait(into(error));
    if (error) co_return;
    const auto now = std::chrono::steady_clock::now();
    if (now < ignore_until) continue;
    ignore_until = now + kSignalPause;
    log_info(fmt::format("SIG{}: taking the swap down", sigabbrev_np(signal)));
    asio::co_spawn(io_, stop(), asio::detached);
  }
}

awaitable<void> Supervisor::stop() {
  if (pool_.is_up()) {
    notify_stopping();
    const auto result = co_await pool_.down(false, nullptr);
    if (!result) {
      log_error(fmt::format("cannot stop: {}", result.error().message));
      notify_status(fmt::format("cannot stop: {}", result.error().message));
      co_return;
    }
  }
  end_if_nothing_is_up();
}

awaitable<void> Supervisor::end_if_never_used() {
  ErrorCode ignored;
  idle_.expires_after(kIdleTimeout);
  co_await idle_.async_wait(into(ignored));
  end_if_nothing_is_up();
}

void Supervisor::end_if_nothing_is_up() {
  if (pool_.is_up() || pool_.is_busy()) return;
  server_->close();
  io_.stop();
}

}  // namespace

Result<void> run_supervisor(const SupervisorOptions& options) {
  Supervisor supervisor;
  return supervisor.run(options);
}

}  // namespace vramswap
