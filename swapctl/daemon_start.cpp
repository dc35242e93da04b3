#include "swapctl/daemon_start.hpp"

#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <optional>
#include <sstream>
#include <thread>

#include "daemon/base/wait_status.hpp"
#include "daemon/control/daemon_arguments.hpp"
#include "swapctl/spawn.hpp"

namespace vramswap::swapctl {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr const char* kProgram = "vramswapd";

Result<fs::path> find_program(const std::vector<fs::path>& directories) {
  for (const auto& directory : directories) {
    const fs::path program = directory / kProgram;
    std::error_code ignored;
    if (fs::is_regular_file(program, ignored) && access(program.c_str(), X_OK) == 0) {
      return fs::absolute(program);
    }
  }
  return fail(fmt::format("{} is not installed: put it beside vramswap, into {} or into PATH",
                          kProgram, VRAMSWAP_SBINDIR));
}

// The error for a daemon that ended before it answered. With exit status 1 and 2 it has printed its
// reason.
Error start_failure(int status) {
  if (WIFEXITED(status) && (WEXITSTATUS(status) == 1 || WEXITSTATUS(status) == 2)) return {};
  return {fmt::format("{} did not start ({})", kProgram, describe_wait_status(status))};
}

// Tries until something answers; without a child, systemd watches the daemon.
Result<ControlClient> wait_for_answer(const fs::path& socket, const DaemonStart& start,
                                      std::optional<pid_t> child) {
  for (const auto deadline = Clock::now() + start.limit;;) {
    // Looked at before connecting: the end of our child may mean that another one was first.
    std::optional<int> ended;
    if (child) {
      const auto status = ended_child(*child);
      if (!status) return status.error();
      ended = *status;
    }
    auto client = ControlClient::connect(socket);
    if (client || !no_daemon(client.error())) return client;
    if (ended) return std::unexpected(start_failure(*ended));
    if (Clock::now() >= deadline) break;
    std::this_thread::sleep_for(start.poll_interval);
  }
  // It has made nothing yet. But one that takes over live swap would take that down.
  if (child && !has_orphans(socket)) kill(*child, SIGTERM);
  return fail(fmt::format("{} did not answer at {} within {} s: see its log", kProgram,
                          socket.string(),
                          std::chrono::duration_cast<std::chrono::seconds>(start.limit).count()));
}

}  // namespace

std::vector<fs::path> daemon_directories() {
  std::vector<fs::path> directories;
  std::error_code error;
  if (const auto self = fs::read_symlink("/proc/self/exe", error); !error) {
    directories.push_back(self.parent_path());
  }
  directories.emplace_back(VRAMSWAP_SBINDIR);
  const char* path = std::getenv("PATH");
  std::istringstream entries(path ? path : "");
  for (std::string entry; std::getline(entries, entry, ':');) {
    // Root does not run what happens to lie in the current directory.
    if (entry.starts_with('/')) directories.emplace_back(entry);
  }
  return directories;
}

Result<ControlClient> start_daemon(const fs::path& socket, const DaemonStart& start) {
  const bool by_systemd = start.purpose == Purpose::swap && systemd_runs(start.systemd);
  if (by_systemd) {
    const auto is_known = unit_is_known(start.systemd);
    if (!is_known) return is_known.error();
    if (*is_known) {
      if (const auto started = start_unit(start.systemd); !started) return started.error();
      return wait_for_answer(socket, start, std::nullopt);
    }
  }
  const auto program = find_program(start.directories);
  if (!program) return program.error();
  if (by_systemd) {
    const auto started = start_transient_unit(start.systemd, *program);
    if (!started) return started.error();
    return wait_for_answer(socket, start, std::nullopt);
  }
  std::vector<std::string> command{program->string(), kDetachedOption};
  if (start.purpose == Purpose::scratch) command.emplace_back(kScratchOption);
  const auto child =
      spawn(command, {.own_session = true, .share_stderr = true, .name = kDaemonArgument0});
  if (!child) return child.error();
  return wait_for_answer(socket, start, *child);
}

}  // namespace vramswap::swapctl
