#include "daemon/supervisor/machine/child.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string_view>

#include "daemon/base/wait_status.hpp"
#include "daemon/system/hardening.hpp"

namespace vramswap {
namespace {

// Root's PATH may lack the directories that mkswap and modprobe are in.
constexpr const char* kPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
constexpr int kExitNotFound = 127;  // as the shell's

std::string last_line(std::string_view text) {
  while (text.ends_with('\n')) text.remove_suffix(1);
  return std::string(text.substr(text.rfind('\n') + 1));
}

// What is in the pipe now; the writer has ended.
std::string drain(int fd) {
  std::string text;
  char buffer[512];
  for (ssize_t bytes = 0; (bytes = read(fd, buffer, sizeof buffer)) > 0;) {
    text.append(buffer, static_cast<std::size_t>(bytes));
  }
  return text;
}

}  // namespace

Result<UniqueFd> open_pidfd(pid_t pid) {
  UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd) return fail_errno("child", "pidfd_open", errno);
  return pidfd;
}

int reap(pid_t pid) {
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
  return status;
}

Result<Child> Child::start(asio::io_context& io, const std::function<int()>& body) {
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) return fail_errno("child", "fork", errno);
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(kExitNotFound);  // it died before the line above
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    soften_child();
    _exit(body());
  }
  auto pidfd = open_pidfd(pid);
  if (!pidfd) {
    ::kill(pid, SIGKILL);
    reap(pid);
    return pidfd.error();
  }
  return Child(io, pid, *std::move(pidfd));
}

Child::Child(asio::io_context& io, pid_t pid, UniqueFd pidfd)
    : pid_(pid), pidfd_(std::make_unique<WatchedFd>(io, std::move(pidfd))) {}

Child::~Child() {
  if (!pidfd_ || reaped_) return;
  kill();
  reap(pid_);
}

void Child::kill() {
  if (!reaped_) ::kill(pid_, SIGKILL);
}

awaitable<int> Child::wait() {
  co_await pidfd_->readable();
  reaped_ = true;
  co_return reap(pid_);
}

awaitable<Result<void>> run_program(asio::io_context& io, std::vector<std::string> arguments) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) {
    co_return fail_errno(arguments[0], "pipe2", errno);
  }
  const UniqueFd output(ends[0]);
  UniqueFd input(ends[1]);
  auto child = Child::start(io, [&] {
    dup2(open("/dev/null", O_RDWR), STDIN_FILENO);
    dup2(STDIN_FILENO, STDOUT_FILENO);
    dup2(input.get(), STDERR_FILENO);
    close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);  // also what we inherited ourselves
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    putenv(const_cast<char*>(kPath));
    execvp(argv[0], argv.data());
    return errno == ENOENT ? kExitNotFound : errno;
  });
  if (!child) co_return child.error();
  input.reset();
  const int status = co_await child->wait();
  if (status == 0) co_return Result<void>{};
  if (WIFEXITED(status) && WEXITSTATUS(status) == kExitNotFound) {
    co_return fail(fmt::format("{}: not found: install it, or add it to PATH", arguments[0]));
  }
  const std::string said = last_line(drain(output.get()));
  co_return fail(fmt::format("{}: {}{}{}", fmt::join(arguments, " "), describe_wait_status(status),
                             said.empty() ? "" : ": ", said));
}

}  // namespace vramswap
