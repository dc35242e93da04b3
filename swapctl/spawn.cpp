#include "swapctl/spawn.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <new>

namespace vramswap::swapctl {
namespace {

// Owns the arguments of posix_spawn. Its calls fail only if memory is short.
class SpawnActions {
 public:
  explicit SpawnActions(const SpawnOptions& options) {
    require(posix_spawn_file_actions_init(&files_));
    require(posix_spawnattr_init(&attributes_));
    redirect(STDIN_FILENO, O_RDONLY);
    redirect(STDOUT_FILENO, O_WRONLY);
    if (!options.share_stderr) redirect(STDERR_FILENO, O_WRONLY);
    // A daemon must not keep the locks and pipes of the script that called us, nor its directory.
    require(posix_spawn_file_actions_addclosefrom_np(&files_, STDERR_FILENO + 1));
    require(posix_spawn_file_actions_addchdir_np(&files_, "/"));
    // Signals that this process blocks (interruption.hpp) must reach a daemon that it starts.
    sigset_t none;
    sigemptyset(&none);
    require(posix_spawnattr_setsigmask(&attributes_, &none));
    const int session = options.own_session ? POSIX_SPAWN_SETSID : 0;
    const auto flags = static_cast<short>(POSIX_SPAWN_SETSIGMASK | session);
    require(posix_spawnattr_setflags(&attributes_, flags));
  }
  SpawnActions(const SpawnActions&) = delete;
  SpawnActions& operator=(const SpawnActions&) = delete;
  ~SpawnActions() {
    posix_spawn_file_actions_destroy(&files_);
    posix_spawnattr_destroy(&attributes_);
  }

  const posix_spawn_file_actions_t* files() const { return &files_; }
  const posix_spawnattr_t* attributes() const { return &attributes_; }

 private:
  static void require(int error) {
    if (error != 0) throw std::bad_alloc();
  }
  void redirect(int fd, int mode) {
    require(posix_spawn_file_actions_addopen(&files_, fd, "/dev/null", mode, 0));
  }

  posix_spawn_file_actions_t files_;
  posix_spawnattr_t attributes_;
};

}  // namespace

Result<pid_t> spawn(const std::vector<std::string>& command, const SpawnOptions& options) {
  std::vector<char*> arguments;
  for (const auto& argument : command) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  if (options.name) arguments[0] = const_cast<char*>(options.name);
  const SpawnActions actions(options);
  pid_t child = 0;
  const int error = posix_spawnp(&child, command[0].c_str(), actions.files(), actions.attributes(),
                                 arguments.data(), environ);
  if (error != 0) return fail_errno(command.front(), "exec", error);
  return child;
}

Result<std::optional<int>> ended_child(pid_t child) {
  int status = 0;
  const pid_t ended = waitpid(child, &status, WNOHANG);
  if (ended < 0) return fail_errno(fmt::format("process {}", child), "waitpid", errno);
  if (ended == 0) return std::nullopt;
  return status;
}

Result<int> run_command(const std::vector<std::string>& command, const SpawnOptions& options) {
  const auto child = spawn(command, options);
  if (!child) return child.error();
  int status = 0;
  while (waitpid(*child, &status, 0) < 0) {
    if (errno != EINTR) return fail_errno(command.front(), "waitpid", errno);
  }
  return status;
}

}  // namespace vramswap::swapctl
