// What keeps a process that serves swap alive and moving while memory is exhausted. Each call
// makes the change, then checks in /proc that it took effect: an error means that this process
// must not serve swap, and says which limit to raise.
#pragma once

#include "daemon/base/error.hpp"

namespace vramswap {

// Locks all memory, present and future (mlockall(2)): a server whose own pages are in the swap it
// serves waits for itself.
Result<void> lock_memory();

// PR_SET_IO_FLUSHER, for this thread and all it starts from now on: their allocations never wait
// for I/O to their own device.
Result<void> mark_io_flusher();

// oom_score_adj -1000: the OOM killer passes it over.
Result<void> exempt_from_oom_killer();

// SCHED_RR 1 for the calling thread: the kernel lets a realtime task allocate below the min
// watermark, without which a server livelocks in direct reclaim.
Result<void> make_realtime();

// Of every thread of the process, CUDA's own too: IO_FLUSHER is in force.
Result<void> verify_every_thread_is_io_flusher();

// The three for a whole process, before it starts a thread.
Result<void> harden_process();

// Undoes what a child should not inherit: swapoff(2) under IO_FLUSHER could not reclaim, and
// mkswap(8) needs no exemption from the OOM killer. For use between fork and exec.
void soften_child();

}  // namespace vramswap
