// The one way in which the supervisor makes a process: this program again in another mode, or a
// program of the system.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "daemon/base/error.hpp"
#include "daemon/base/unique_fd.hpp"

namespace vramswap {

struct Program {
  enum class Kind {
    // Is killed when the supervisor dies, and is not exempt from the OOM killer (see soften_child).
    helper,
    // Outlives the supervisor and is a realtime process: it may have to start on a machine without
    // free memory, where the kernel lets a realtime task allocate below the min watermark. Its
    // threads begin as ordinary ones.
    worker,
  };

  Kind kind = Kind::helper;
  std::string path = {};
  // A descriptor of the program, see own_program(); `path` is then only its name in errors. -1: it
  // is found by `path`.
  int executable = -1;
  std::vector<std::string> arguments = {};  // argument 0 is the first
  // The program's descriptors from 0 on; -1: the supervisor's own. It gets no others than these and
  // the supervisor's first three.
  std::vector<int> fds = {-1, -1, -1};
  // NAME=VALUE each, in the place of the supervisor's; empty: it gets the supervisor's.
  std::vector<std::string> environment = {};
};

// A child of this process that has not been reaped.
struct StartedProgram {
  pid_t pid;
  UniqueFd pidfd;  // readable when it ends
};

// Returns when the program has been loaded, or with the reason why it cannot be. The supervisor
// waits meanwhile, as for vfork(2), and the two share its memory: none of it is copied, no page of
// it is shared afterwards, and the OOM killer does not choose a process in this state. For one
// thread.
Result<StartedProgram> start_program(const Program& program);

// The pidfd of a child that has not been reaped.
Result<UniqueFd> open_pidfd(pid_t pid);
// Reaps a child that has ended. Its wait status.
Result<int> reap(pid_t pid);

}  // namespace vramswap
