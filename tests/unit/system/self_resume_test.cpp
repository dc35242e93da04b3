#include "daemon/system/self_resume.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

namespace vramswap {
namespace {

TEST(SelfResume, AStoppedProcessContinues) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    if (!resume_every_second()) _exit(1);
    for (int i = 0; i < 2; ++i) raise(SIGSTOP);
    _exit(7);
  }
  int status = 0;
  unsigned stops = 0;
  while (waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status)) ++stops;
  EXPECT_EQ(stops, 2U);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 7);
}

}  // namespace
}  // namespace vramswap
