// For a process that others wait for, while somebody stops all processes of the machine.
#pragma once

#include "daemon/base/error.hpp"

namespace vramswap {

// From now on the kernel sends this process SIGCONT once a second, also while it is stopped. At the
// end of a shutdown systemd stops every process, and then reads their command lines: one that is in
// swap would come from a process that is stopped.
Result<void> resume_every_second();

}  // namespace vramswap
