// The disposable process that holds a store device and serves its segments. It is exec'd by the
// supervisor, never forked out of a process that has touched CUDA, and may die at any moment: what
// must survive it is held by the supervisor as file descriptors. It holds them too, so it outlives
// the supervisor, and hands them to the next one.
#pragma once

#include <string>
#include <vector>

namespace vramswap {

// The '@' tells systemd's last sweep at shutdown to leave the process alone: it kills everything
// else and then swaps off.
inline constexpr const char* kDaemonArgument0 = "@vramswapd";

struct WorkerOptions {
  // Locked in memory, IO_FLUSHER, exempt from the OOM killer, I/O threads at SCHED_RR; each
  // checked. Only unprivileged tests go without.
  bool hardened = true;
  // How this program is told to be a worker.
  std::vector<std::string> arguments = {kDaemonArgument0, "--worker"};
};

// The whole life of the worker: takes requests from `channel` until the supervisor closes it, and
// serves on for as long as the kernel may want it. Where it was replaced by exec, `image` is the
// descriptor of what it had (see worker_handover.hpp), else -1. Returns the exit status.
int run_worker(int channel, int image = -1, WorkerOptions options = {});

}  // namespace vramswap
