#include "daemon/base/wait_status.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

namespace vramswap {
namespace {

TEST(DescribeWaitStatus, SaysTheExitStatus) {
  EXPECT_EQ(describe_wait_status(W_EXITCODE(0, 0)), "exit status 0");
  EXPECT_EQ(describe_wait_status(W_EXITCODE(127, 0)), "exit status 127");
}

TEST(DescribeWaitStatus, NamesTheSignal) {
  EXPECT_EQ(describe_wait_status(W_EXITCODE(0, SIGKILL)), "killed by SIGKILL");
  EXPECT_EQ(describe_wait_status(W_EXITCODE(0, SIGSEGV) | WCOREFLAG), "killed by SIGSEGV");
}

TEST(DescribeWaitStatus, NumbersASignalWithoutAName) {
  EXPECT_EQ(describe_wait_status(W_EXITCODE(0, SIGRTMIN)),
            "killed by signal " + std::to_string(SIGRTMIN));
}

}  // namespace
}  // namespace vramswap
