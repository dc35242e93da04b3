#include "daemon/system/hardening.hpp"

#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>

namespace vramswap {
namespace {

constexpr int kOk = 0;
constexpr int kNotPermitted = 77;

// Hardening cannot be undone, so each check runs in a child. Returns the child's wait status.
template <typename Check>
int run_in_child(Check check) {
  const pid_t child = fork();
  if (child == 0) _exit(check());
  int status = -1;
  waitpid(child, &status, 0);
  return status;
}

// Where the hard limit of this process is 0, only a privileged process may raise it to 1.
int forbid() {
  const auto result = forbid_core_dumps();
  if (result) return kOk;
  return result.error().code == EPERM ? kNotPermitted : EXIT_FAILURE;
}

bool may_forbid() {
  return run_in_child(forbid) != W_EXITCODE(kNotPermitted, 0);
}

TEST(CoreDumps, AreForbidden) {
  if (!may_forbid()) GTEST_SKIP() << "the hard limit of core dumps is 0 here";
  const int status = run_in_child([] {
    if (forbid() != kOk) return 1;
    if (prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0) return 2;
    rlimit limit{};
    if (getrlimit(RLIMIT_CORE, &limit) != 0 || limit.rlim_cur != 1 || limit.rlim_max != 1) return 3;
    return kOk;
  });
  EXPECT_EQ(status, 0);
}

TEST(CoreDumps, ACrashLeavesNone) {
  if (!may_forbid()) GTEST_SKIP() << "the hard limit of core dumps is 0 here";
  const int status = run_in_child([] {
    if (forbid() == kOk) std::abort();
    return 1;
  });
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGABRT);
  EXPECT_FALSE(WCOREDUMP(status));
}

// A process is hardened again after each exec of its own program.
TEST(CoreDumps, AreForbiddenTwice) {
  if (!may_forbid()) GTEST_SKIP() << "the hard limit of core dumps is 0 here";
  EXPECT_EQ(run_in_child([] { return forbid() == kOk ? forbid() : 1; }), 0);
}

}  // namespace
}  // namespace vramswap
