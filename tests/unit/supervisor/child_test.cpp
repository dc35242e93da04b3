#include "daemon/supervisor/machine/child.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/base/wait_status.hpp"
#include "tests/unit/supervisor/run.hpp"

namespace vramswap {
namespace {

using testing::HasSubstr;

TEST(Child, ExitStatusComesBack) {
  asio::io_context io;
  auto child = Child::start(io, [] { return 42; });
  ASSERT_TRUE(child);
  const int status = run(io, child->wait());
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 42);
}

TEST(Child, CanBeKilled) {
  asio::io_context io;
  auto child = Child::start(io, [] { return pause(); });
  ASSERT_TRUE(child);
  child->kill();
  const int status = run(io, child->wait());
  EXPECT_EQ(describe_wait_status(status), "killed by SIGKILL");
}

TEST(Child, DestructionLeavesNoProcess) {
  asio::io_context io;
  {
    auto child = Child::start(io, [] { return pause(); });
    ASSERT_TRUE(child);
  }
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1);
  EXPECT_EQ(errno, ECHILD);
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

TEST(RunProgram, MissingProgramSaysSo) {
  const auto result = run_words({"vramswap-no-such-program"});
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, HasSubstr("vramswap-no-such-program: not found"));
}

// An end of a socket that leaks into mkswap hides the end of a connection from the kernel.
TEST(RunProgram, InheritsNothing) {
  const auto result = run_words({"sh", "-c", "ls /proc/self/fd | tr '\\n' ' ' >&2; exit 1"});
  ASSERT_FALSE(result);
  // 3 is ls reading the directory.
  EXPECT_THAT(result.error().message, HasSubstr(": 0 1 2 3 "));
  EXPECT_THAT(result.error().message, testing::Not(HasSubstr(" 4 ")));
}

}  // namespace
}  // namespace vramswap
