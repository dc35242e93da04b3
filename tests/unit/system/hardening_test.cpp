#include "daemon/system/hardening.hpp"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <vector>

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

int become_realtime() {
  const auto result = make_realtime("test");
  if (result) return kOk;
  return result.error().code == EPERM ? kNotPermitted : EXIT_FAILURE;
}

// swapoff(8) at realtime priority would keep others from running.
TEST(Realtime, IsNotInherited) {
  if (run_in_child(become_realtime) == W_EXITCODE(kNotPermitted, 0)) {
    GTEST_SKIP() << "no realtime priority here";
  }
  const int status = run_in_child([] {
    if (become_realtime() != kOk) return 1;
    if (sched_getscheduler(0) != (SCHED_RR | SCHED_RESET_ON_FORK)) return 2;
    const int child = run_in_child([] { return sched_getscheduler(0) == SCHED_OTHER ? kOk : 1; });
    return child == 0 ? kOk : 3;
  });
  EXPECT_EQ(status, 0);
}

TEST(Heap, FreedMemoryIsUsedAgain) {
  const int status = run_in_child([] {
    keep_heap();
    const void* const end = sbrk(0);
    for (const std::size_t bytes : {std::size_t{64} << 10, std::size_t{512} << 10}) {
      std::vector<std::unique_ptr<std::byte[]>> blocks;
      for (std::size_t taken = 0; taken < std::size_t{512} << 10; taken += bytes) {
        blocks.push_back(std::make_unique<std::byte[]>(bytes));
      }
    }
    return sbrk(0) == end ? kOk : 1;
  });
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace vramswap
