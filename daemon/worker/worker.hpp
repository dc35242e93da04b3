// The disposable process that holds a store device and serves its segments. It is exec'd by the
// supervisor, never forked out of a process that has touched CUDA, and may die at any moment: what
// must survive it is held by the supervisor as file descriptors.
#pragma once

namespace vramswap {

struct WorkerOptions {
  // Locked in memory, IO_FLUSHER, exempt from the OOM killer, I/O threads at SCHED_RR; each
  // checked. Only unprivileged tests go without.
  bool hardened = true;
};

// The whole life of the worker: takes requests from `channel` until the supervisor closes it, and
// then serves on for as long as a connection is open. Returns the exit status.
int run_worker(int channel, WorkerOptions options = {});

}  // namespace vramswap
