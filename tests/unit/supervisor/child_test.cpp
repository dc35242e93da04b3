#include "daemon/supervisor/machine/child.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>

#include "daemon/base/wait_status.hpp"
#include "tests/unit/supervisor/run.hpp"

namespace vramswap {
namespace {

using testing::HasSubstr;

Program shell(const std::string& script) {
  return {.path = "/bin/sh", .arguments = {"sh", "-c", script}};
}
const Program kSleep{.path = "/bin/sleep", .arguments = {"sleep", "1000"}};

TEST(Child, ExitStatusComesBack) {
  asio::io_context io;
  auto child = Child::start(io, shell("exit 42"));
  ASSERT_TRUE(child);
  const int status = run(io, child->wait()).value();
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 42);
}

TEST(Child, CanBeKilled) {
  asio::io_context io;
  auto child = Child::start(io, kSleep);
  ASSERT_TRUE(child);
  EXPECT_EQ(child->wait_for(std::chrono::milliseconds(0)).error().code, ETIMEDOUT);
  child->kill();
  const int status = run(io, child->wait()).value();
  EXPECT_EQ(describe_wait_status(status), "killed by SIGKILL");
}

TEST(Child, CanBeWaitedForWithoutTheReactor) {
  asio::io_context io;
  auto child = Child::start(io, shell("exit 3"));
  ASSERT_TRUE(child);
  EXPECT_EQ(WEXITSTATUS(child->wait_for(std::chrono::hours(1)).value()), 3);
}

TEST(Child, DestructionLeavesNoProcess) {
  asio::io_context io;
  {
    auto child = Child::start(io, kSleep);
    ASSERT_TRUE(child);
  }
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1);
  EXPECT_EQ(errno, ECHILD);
}

// A missing status does not count as success: it may be that of a swapoff.
TEST(Child, AStatusThatTheKernelDoesNotKeepIsAnError) {
  asio::io_context io;
  auto child = Child::start(io, kSleep);
  ASSERT_TRUE(child);
  std::signal(SIGCHLD, SIG_IGN);
  child->kill();
  const auto status = run(io, child->wait());
  std::signal(SIGCHLD, SIG_DFL);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ECHILD);
}

// The memory of this process is not shared any more, and none of it was copied.
TEST(StartProgram, ReturnsWhenTheProgramIsLoaded) {
  const auto started = start_program(kSleep);
  ASSERT_TRUE(started) << started.error().message;
  const auto own = std::filesystem::read_symlink("/proc/self/exe");
  const auto exe = std::filesystem::read_symlink("/proc/" + std::to_string(started->pid) + "/exe");
  EXPECT_NE(exe, own);
  kill(started->pid, SIGKILL);
  EXPECT_EQ(describe_wait_status(reap(started->pid).value()), "killed by SIGKILL");
}

TEST(StartProgram, AHelperDiesWithTheSupervisor) {
  prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const pid_t supervisor = fork();
  if (supervisor == 0) {
    const auto started = start_program(kSleep);
    const pid_t helper = started ? started->pid : -1;
    _exit(write(ends[1], &helper, sizeof helper) == sizeof helper ? 0 : 1);
  }
  pid_t helper = -1;
  ASSERT_EQ(read(ends[0], &helper, sizeof helper), static_cast<ssize_t>(sizeof helper));
  ASSERT_GT(helper, 0);
  EXPECT_EQ(reap(supervisor).value(), 0);
  EXPECT_EQ(describe_wait_status(reap(helper).value()), "killed by SIGKILL");
  prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);
  close(ends[0]);
  close(ends[1]);
}

Result<void> run_words(std::vector<std::string> words) {
  asio::io_context io;
  return run(io, run_program(io, std::move(words)));
}

TEST(RunProgram, Succeeds) {
  EXPECT_TRUE(run_words({"true"}));
}

TEST(RunProgram, FailureHasTheLastLineOfStderr) {
  const auto result = run_words({"sh", "-c", "echo out; echo first >&2; echo no room >&2; exit 3"});
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, HasSubstr("exit status 3: no room"));
  EXPECT_THAT(result.error().message, testing::Not(HasSubstr("first\n")));
}

TEST(RunProgram, AProgramThatCannotBeLoadedIsAnError) {
#ifdef __SANITIZE_THREAD__
  GTEST_SKIP() << "the thread sanitizer cannot follow two processes in one memory";
#endif
  EXPECT_THAT(run_words({"vramswap-no-such-program"}).error().message,
              HasSubstr("vramswap-no-such-program: not found"));
  EXPECT_THAT(run_words({"/nonexistent/program"}).error().message,
              HasSubstr("/nonexistent/program: not found"));
  EXPECT_THAT(run_words({"/dev/null"}).error().message, HasSubstr("/dev/null: execve: EACCES"));
}

// An end of a socket that leaks into mkswap hides the end of a connection from the kernel. While a
// helper loads its program the supervisor waits for it. If the helper waited for the swap
// meanwhile, no process would replace the worker that serves it.
TEST(StartProgram, AHelperDoesNotWaitForTheSwap) {
  asio::io_context io;
  if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) != 0) GTEST_SKIP() << "needs CAP_SYS_RESOURCE";
  auto child = Child::start(io, shell("read -r line </proc/self/stat; set -- ${line##*) }; "
                                      "[ $(($7 & 0x80000)) -ne 0 ] || exit 42"));
  prctl(PR_SET_IO_FLUSHER, 0, 0, 0, 0);
  ASSERT_TRUE(child);
  EXPECT_EQ(WEXITSTATUS(child->wait_for(std::chrono::hours(1)).value()), 0);
}

TEST(RunProgram, InheritsNothing) {
  const auto result = run_words({"sh", "-c", "ls /proc/self/fd | tr '\\n' ' ' >&2; exit 1"});
  ASSERT_FALSE(result);
  // 3 is ls reading the directory.
  EXPECT_THAT(result.error().message, HasSubstr(": 0 1 2 3 "));
  EXPECT_THAT(result.error().message, testing::Not(HasSubstr(" 4 ")));
}

TEST(RunProgram, BlocksNoSignal) {
  // By the shell itself, which blocks signals while it starts programs.
  const auto result = run_words({"sh", "-c",
                                 "while read -r key value; do"
                                 " [ \"$key\" = SigBlk: ] && echo \"$value\" >&2; "
                                 "done </proc/self/status; exit 1"});
  EXPECT_THAT(result.error().message, testing::EndsWith(": 0000000000000000"));
}

TEST(RunProgram, FindsProgramsOfAdministration) {
  const auto result = run_words({"sh", "-c", "echo $PATH >&2; exit 1"});
  EXPECT_THAT(result.error().message, HasSubstr("/usr/sbin:"));
}

}  // namespace
}  // namespace vramswap
