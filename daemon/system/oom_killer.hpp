// The last resort of a machine without memory.
#pragma once

#include <string>

#include "daemon/base/error.hpp"

namespace vramswap {

// Has the kernel kill the process that its OOM killer would choose (sysrq f). While nobody serves a
// swap device, the kernel does not come to that by itself: whoever is out of memory waits for the
// device, and who restarts the server allocates with GFP_NOIO, which never calls the OOM killer.
Result<void> call_oom_killer(const std::string& trigger_path = "/proc/sysrq-trigger");

}  // namespace vramswap
