#include "daemon/system/own_program.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "daemon/base/unique_fd.hpp"
#include "tests/support/temp_directory.hpp"

namespace vramswap {
namespace {

TEST(OwnProgram, IsTheFileThatThisProcessRuns) {
  const auto program = own_program();
  ASSERT_TRUE(program) << program.error().message;
  struct stat ours {};
  struct stat its {};
  ASSERT_EQ(stat("/proc/self/exe", &ours), 0);
  ASSERT_EQ(fstat(*program, &its), 0);
  EXPECT_EQ(its.st_ino, ours.st_ino);
  EXPECT_EQ(its.st_dev, ours.st_dev);
  EXPECT_EQ(fcntl(*program, F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(own_program().value(), *program);
}

TEST(Execute, AProgramWhoseFileIsGone) {
  const TempDirectory directory;
  const auto file = directory / "shell";
  std::filesystem::copy_file(std::filesystem::canonical("/bin/sh"), file);
  const UniqueFd program(open(file.c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(program);
  std::filesystem::remove(file);
  const pid_t child = fork();
  if (child == 0) {
    (void)execute(program.get(), {"@shell", "-c", "test \"$0\" = name && exit 42", "name"});
    _exit(1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 42);
}

TEST(Execute, AFileThatIsNoProgramIsAnError) {
  const TempDirectory directory;
  const UniqueFd file(open(directory.write("text", "no program").c_str(), O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(execute(file.get(), {"text"}).code, EACCES);
}

}  // namespace
}  // namespace vramswap
