#include "daemon/supervisor/machine/runtime_lock.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>
#include <thread>

#include "daemon/base/unix_address.hpp"

namespace vramswap {
namespace {

constexpr std::chrono::milliseconds kPoll{50};

// Without waiting for its answer: EAGAIN is a daemon that has more clients than it takes at once.
bool somebody_listens(const std::string& path) {
  const auto address = unix_address(path, "connect");
  const UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!address || !socket) return false;
  return connect(socket.get(), as_sockaddr(*address), sizeof *address) == 0 || errno == EAGAIN;
}

}  // namespace

std::string control_path(const std::string& directory) {
  return directory + "/control";
}

Result<UniqueFd> lock_runtime_directory(const std::string& directory,
                                        std::chrono::milliseconds limit) {
  if (mkdir(directory.c_str(), 0755) != 0 && errno != EEXIST) {
    return fail_errno(directory, "mkdir", errno);
  }
  UniqueFd lock(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!lock) return fail_errno(directory, "open", errno);
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return fail_errno(directory, "flock", errno);
    if (somebody_listens(control_path(directory)) || std::chrono::steady_clock::now() > deadline) {
      return fail(fmt::format("{}: another vramswapd runs", directory));
    }
    std::this_thread::sleep_for(kPoll);
  }
  return lock;
}

}  // namespace vramswap
