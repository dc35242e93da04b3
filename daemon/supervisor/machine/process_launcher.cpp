#include "daemon/supervisor/machine/process_launcher.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "daemon/control/daemon_arguments.hpp"
#include "daemon/handover/worker_socket.hpp"
#include "daemon/supervisor/machine/program.hpp"
#include "daemon/supervisor/machine/worker_environment.hpp"
#include "daemon/system/own_program.hpp"
#include "daemon/system/proc.hpp"

namespace vramswap {
namespace {

class ProcessLink : public WorkerLink {
 public:
  ProcessLink(asio::io_context& io, pid_t pid, UniqueFd channel, UniqueFd pidfd,
              const std::string& processes)
      : pid_(pid),
        channel_(std::make_unique<WatchedFd>(io, std::move(channel))),
        pidfd_(io, std::move(pidfd)),
        status_path_(fmt::format("{}/{}/status", processes, pid)) {
    fcntl(channel_->get(), F_SETFL, O_NONBLOCK);
  }

  pid_t pid() const override { return pid_; }

  Result<void> send(std::string_view text, std::span<const int> fds) override {
    return send_packet(channel_->get(), text, fds);
  }

  awaitable<Result<std::optional<Packet>>> receive() override {
    while (channel_) {
      const ErrorCode cancelled = co_await channel_->readable();
      if (cancelled) break;
      auto packet = receive_now();
      if (packet || packet.error().code != EAGAIN) co_return packet;
    }
    co_return std::optional<Packet>();
  }

  Result<std::optional<Packet>> receive_now() override {
    if (!channel_) return std::optional<Packet>();
    return receive_packet(channel_->get());
  }

  void close() override {
    if (!channel_) return;
    channel_->cancel();
    channel_.reset();
  }
  bool is_open() const override { return channel_ != nullptr; }

  awaitable<std::optional<int>> wait_for_exit() override {
    co_await pidfd_.readable();
    // It is a child of ours if we started it, or this program did before it was replaced by exec.
    int status = 0;
    if (waitpid(pid_, &status, WNOHANG) == pid_) co_return status;
    co_return std::nullopt;
  }

  // By the descriptor: a worker that was no child of ours has been reaped by somebody else when it
  // ends, and another process may have its number.
  void resume() override { syscall(SYS_pidfd_send_signal, pidfd_.get(), SIGCONT, nullptr, 0); }
  void kill() override { syscall(SYS_pidfd_send_signal, pidfd_.get(), SIGKILL, nullptr, 0); }

  Result<std::uint64_t> resident_bytes() const override {
    return read_resident_bytes(status_path_);
  }

 private:
  const pid_t pid_;
  std::unique_ptr<WatchedFd> channel_;
  WatchedFd pidfd_;
  const std::string status_path_;
};

}  // namespace

Result<std::shared_ptr<WorkerLink>> ProcessLauncher::spawn() {
  auto channel = make_channel();
  if (!channel) return channel.error();
  auto& [ours, theirs] = *channel;
  const auto own = own_program();
  if (!own) return own.error();
  // The channel is the worker's descriptor 3.
  auto started = start_program({.kind = Program::Kind::worker,
                                .path = "vramswapd",
                                .executable = *own,
                                .arguments = {kDaemonArgument0, kWorkerOption},
                                .fds = {-1, -1, -1, theirs.get()},
                                .environment = worker_environment(environ)});
  if (!started) return started.error();
  return std::make_shared<ProcessLink>(io_, started->pid, std::move(ours),
                                       std::move(started->pidfd), processes_);
}

std::vector<std::string> ProcessLauncher::find_sockets(const std::string& runtime_directory) const {
  return worker_socket::find(runtime_directory);
}

Result<std::shared_ptr<WorkerLink>> ProcessLauncher::reattach(const std::string& socket) {
  auto connection = worker_socket::connect(socket);
  if (!connection) return connection.error();
  // It listened a moment ago. If another process had the number by now, the channel would be at its
  // end.
  auto pidfd = open_pidfd(connection->worker);
  if (!pidfd) return pidfd.error();
  return std::make_shared<ProcessLink>(io_, connection->worker, std::move(connection->channel),
                                       *std::move(pidfd), processes_);
}

void ProcessLauncher::remove_socket(const std::string& socket) {
  unlink(socket.c_str());
}

}  // namespace vramswap
