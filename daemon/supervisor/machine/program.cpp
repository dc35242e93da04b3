#include "daemon/supervisor/machine/program.hpp"

#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "daemon/system/hardening.hpp"

namespace vramswap {
namespace {

constexpr int kExitNotLoaded = 127;  // as the shell's

// As vfork(2). The thread sanitizer cannot follow two processes in one memory: there, the reason
// why a program cannot be loaded does not come back.
#ifdef __SANITIZE_THREAD__
constexpr int kCloneFlags = CLONE_VFORK | SIGCHLD;
#else
constexpr int kCloneFlags = CLONE_VM | CLONE_VFORK | SIGCHLD;
#endif

// The child's until it has loaded its program. Part of the locked memory, unlike more of the
// reactor's stack.
alignas(16) char child_stack[64 << 10];

// What the child needs, in the supervisor's memory.
struct Plan {
  const Program& program;
  pid_t supervisor;
  char* const* arguments;
  char* const* environment;
  int error = 0;  // from the child
};

// Handlers of the supervisor must not run in the child, which has the same memory. Signals that the
// supervisor ignores stay ignored.
void reset_signals() {
  for (int signal = 1; signal < NSIG; ++signal) {
    struct sigaction action {};
    if (sigaction(signal, nullptr, &action) != 0 || action.sa_handler == SIG_IGN) continue;
    action = {};
    action.sa_handler = SIG_DFL;
    sigaction(signal, &action, nullptr);
  }
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

// Descriptors above are left to exec to close.
void place_fds(const std::vector<int>& fds) {
  for (int target = 0; target < static_cast<int>(fds.size()); ++target) {
    const int fd = fds[static_cast<std::size_t>(target)];
    if (fd == target) {
      fcntl(fd, F_SETFD, 0);
    } else if (fd >= 0) {
      dup2(fd, target);
    }
  }
  // Not all of the supervisor's descriptors are close-on-exec: Asio's sockets are not. A worker
  // that had the control socket would keep it open after the supervisor's death, and clients would
  // wait for an answer.
  close_range(static_cast<unsigned>(fds.size()), ~0U, CLOSE_RANGE_CLOEXEC);
}

// In the child. Allocates nothing and takes no lock: the memory is the supervisor's.
int load(void* argument) {
  auto& plan = *static_cast<Plan*>(argument);
  const Program& program = plan.program;
  reset_signals();
  // Out of the way of those that are placed.
  const int executable = program.executable < 0 ? -1
                                                : fcntl(program.executable, F_DUPFD_CLOEXEC,
                                                        static_cast<int>(program.fds.size()));
  place_fds(program.fds);
  if (program.kind == Program::Kind::worker) {
    const sched_param priority{.sched_priority = 1};
    sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &priority);
  } else {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != plan.supervisor) _exit(kExitNotLoaded);  // it died before the line above
    soften_child();
  }
  if (program.executable < 0) {
    execve(program.path.c_str(), plan.arguments, plan.environment);
  } else {
    execveat(executable, "", plan.arguments, plan.environment, AT_EMPTY_PATH);
  }
  plan.error = errno;
  _exit(kExitNotLoaded);
}

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> list;
  for (const std::string& text : texts) list.push_back(const_cast<char*>(text.c_str()));
  list.push_back(nullptr);
  return list;
}

}  // namespace

Result<StartedProgram> start_program(const Program& program) {
  const auto arguments = pointers(program.arguments);
  const auto variables = pointers(program.environment);
  Plan plan{program, getpid(), arguments.data(),
            program.environment.empty() ? environ : variables.data()};
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, &before);
  const pid_t pid = clone(load, child_stack + sizeof child_stack, kCloneFlags, &plan);
  const int error = errno;
  sigprocmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) return fail_errno(program.path, "clone", error);
  auto pidfd = plan.error == 0 ? open_pidfd(pid)
                               : Result<UniqueFd>(errno_error(program.path, "execve", plan.error));
  if (!pidfd) {
    ::kill(pid, SIGKILL);
    (void)reap(pid);
    return pidfd.error();
  }
  return StartedProgram{pid, *std::move(pidfd)};
}

Result<UniqueFd> open_pidfd(pid_t pid) {
  UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd) return fail_errno("child", "pidfd_open", errno);
  return pidfd;
}

Result<int> reap(pid_t pid) {
  int status = 0;
  while (waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return fail_errno("child", "waitpid", errno);
  }
  return status;
}

}  // namespace vramswap
