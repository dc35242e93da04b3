// The disposable process that holds a store device and serves its segments. The supervisor starts
// it by exec; it is never forked from a process that has used CUDA. It may die at any moment: the
// supervisor holds file descriptors of everything that must survive. The worker holds them too, so
// it also survives the supervisor, and hands them to the next one.
#pragma once

#include <string>
#include <vector>

#include "daemon/control/daemon_arguments.hpp"

namespace vramswap {

struct WorkerOptions {
  // The process is locked in memory, IO_FLUSHER and exempt from the OOM killer, and its I/O threads
  // run at SCHED_RR. Each of these is checked. Only unprivileged tests turn this off.
  bool hardened = true;
  // The arguments with which this program is started as a worker.
  std::vector<std::string> arguments = {kDaemonArgument0, kWorkerOption};
};

// Runs the worker and returns its exit status. It answers requests from `channel` until the
// supervisor closes it, and keeps serving for as long as the kernel may need it. After an exec,
// `handover_fd` is the descriptor of the WorkerHandover; otherwise it is -1.
int run_worker(int channel, int handover_fd = -1, WorkerOptions options = {});

}  // namespace vramswap
