// The last resort of a machine without memory.
#pragma once

#include <string>

#include "daemon/base/error.hpp"

namespace vramswap {

// Makes the kernel kill the process that its OOM killer would choose (sysrq f). The kernel does not
// do this itself while a swap device has no server: tasks short of memory are blocked on the
// device, and the supervisor allocates with GFP_NOIO, which never invokes the OOM killer.
Result<void> call_oom_killer(const std::string& trigger_path = "/proc/sysrq-trigger");

}  // namespace vramswap
