#include "daemon/system/oom_killer.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "daemon/base/unique_fd.hpp"

namespace vramswap {

Result<void> call_oom_killer(const std::string& trigger_path) {
  const UniqueFd trigger(open(trigger_path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!trigger) return fail_errno(trigger_path, "open", errno);
  if (write(trigger.get(), "f", 1) != 1) return fail_errno(trigger_path, "write f", errno);
  return {};
}

}  // namespace vramswap
