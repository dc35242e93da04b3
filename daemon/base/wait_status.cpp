#include "daemon/base/wait_status.hpp"

#include <fmt/format.h>
#include <sys/wait.h>

#include <cstring>

namespace vramswap {

std::string describe_wait_status(int status) {
  if (WIFEXITED(status)) return fmt::format("exit status {}", WEXITSTATUS(status));
  // No name for realtime signals.
  const char* name = sigabbrev_np(WTERMSIG(status));
  return name ? fmt::format("killed by SIG{}", name)
              : fmt::format("killed by signal {}", WTERMSIG(status));
}

}  // namespace vramswap
