#include "daemon/supervisor/machine/old_program.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/handover/worker_socket.hpp"
#include "daemon/supervisor/machine/installed_program.hpp"
#include "daemon/system/own_program.hpp"
#include "tests/support/temp_directory.hpp"

namespace vramswap {
namespace {

UniqueFd open_program(const char* path) {
  return UniqueFd(open(path, O_RDONLY | O_CLOEXEC));
}

bool are_same(const UniqueFd& one, const UniqueFd& other) {
  struct stat first {};
  struct stat second {};
  return fstat(one.get(), &first) == 0 && fstat(other.get(), &second) == 0 &&
         first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

// A process that listens like a worker, and runs `program`.
class Listener {
 public:
  Listener(const std::string& socket, const char* program) {
    int ends[2] = {-1, -1};
    EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
    const UniqueFd loaded(ends[0]);
    UniqueFd loading(ends[1]);
    pid_ = fork();
    if (pid_ == 0) {
      auto listener = worker_socket::listen(socket);
      if (listener) fcntl(listener->get(), F_SETFD, 0);
      execl(program, "worker", "1000", nullptr);
      _exit(1);
    }
    loading.reset();
    char byte = 0;
    EXPECT_EQ(read(loaded.get(), &byte, 1), 0);  // exec has closed the other end
  }
  ~Listener() { end(); }
  void end() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

 private:
  pid_t pid_ = -1;
};

TEST(FindOldProgram, TheServiceManagersProgramComesFirst) {
  const TempDirectory directory;
  const UniqueFd found = find_old_program(open_program("/bin/true"), directory.path());
  EXPECT_TRUE(are_same(found, open_program("/bin/true")));
}

TEST(FindOldProgram, ItsOwnProgramIsNone) {
  const TempDirectory directory;
  EXPECT_FALSE(find_old_program(open_program("/proc/self/exe"), directory.path()));
  EXPECT_FALSE(find_old_program({}, directory.path()));
}

TEST(FindOldProgram, ThatOfAWorkerThatListens) {
  const TempDirectory directory;
  const std::string socket = worker_socket::path(directory.path(), 0);
  Listener worker(socket, "/bin/sleep");
  const UniqueFd found = find_old_program(open_program("/proc/self/exe"), directory.path());
  EXPECT_TRUE(are_same(found, open_program("/bin/sleep")));
  worker.end();
  EXPECT_FALSE(find_old_program({}, directory.path()));
}

TEST(FindOldProgram, AWorkerOfThisProgramHasNoOther) {
  const TempDirectory directory;
  const auto listener = worker_socket::listen(worker_socket::path(directory.path(), 0));
  ASSERT_TRUE(listener);
  EXPECT_FALSE(find_old_program({}, directory.path()));
}

TEST(PathOfProgram, IsWhereAnUpgradePutsTheNextOne) {
  EXPECT_EQ(path_of_program("/usr/sbin/vramswapd"), "/usr/sbin/vramswapd");
  EXPECT_EQ(path_of_program("/usr/sbin/vramswapd (deleted)"), "/usr/sbin/vramswapd");
}

}  // namespace
}  // namespace vramswap
