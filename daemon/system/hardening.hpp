// Keeps a process that serves swap alive and able to run while memory is exhausted. Each call makes
// a change, then asks the kernel whether it took effect. An error means that this process must not
// serve swap; it says which limit to raise.
#pragma once

#include <string_view>

#include "daemon/base/error.hpp"

namespace vramswap {

// Advice if the kernel does not let a process lock its memory, or be realtime.
inline constexpr std::string_view kLockedMemoryAdvice =
    "raise RLIMIT_MEMLOCK to unlimited (ulimit -l unlimited, or LimitMEMLOCK=infinity)";
inline constexpr std::string_view kRealtimeAdvice =
    "it needs CAP_SYS_NICE or an RLIMIT_RTPRIO above 0, and a control group whose "
    "cpu.rt_runtime_us is above 0 where the kernel has CONFIG_RT_GROUP_SCHED";

// Locks all present and future memory (mlockall(2)): a server whose own pages are in the swap that
// it serves would wait for itself.
Result<void> lock_memory();

// Sets PR_SET_IO_FLUSHER for this thread and for all threads that it starts afterwards: their
// allocations never wait for I/O to the device that they serve.
Result<void> mark_io_flusher();

// The same for this thread alone, without the check: for a thread that a process without the
// privilege may start, too, and that verify_every_thread_is_io_flusher() covers later.
void set_io_flusher();

// Sets oom_score_adj to -1000: the OOM killer never chooses this process.
Result<void> exempt_from_oom_killer();

// Sets SCHED_RR 1 for the calling thread, and not for what it starts (SCHED_RESET_ON_FORK). The
// kernel lets a realtime task allocate below the min watermark; without that, a server livelocks in
// direct reclaim. An error names the thread as `thread`.
Result<void> make_realtime(std::string_view thread);

// Makes the C library keep the heap that it has, and makes that big enough for a supervisor at
// work: it need not ask the kernel for memory in the middle of a recovery. Call it before the
// process starts a thread, and after lock_memory(), which makes all of the heap resident.
void keep_heap();

// Forbids core dumps. The kernel keeps the sockets of a crashed process open until its dump is
// complete, and no worker serves the swap until then: a program in core_pattern may need pages from
// that very swap. The dump would also hold other programs' pages. Lasts until exec, after which
// only RLIMIT_CORE remains.
Result<void> forbid_core_dumps();

// Checks that IO_FLUSHER is in force for every thread of the process, CUDA's threads included.
Result<void> verify_every_thread_is_io_flusher();

// Makes the four changes for a whole process: memory, IO_FLUSHER, OOM killer, core dumps. Call it
// before the process starts a thread, and again after each exec.
Result<void> harden_process();

// Ends a child's exemption from the OOM killer: mkswap(8) needs none. Call it between fork and
// exec. IO_FLUSHER stays in force: with vfork(2) the supervisor waits until the child has loaded
// its program, and a child that waited for the swap then would wait for the supervisor.
void soften_child();

// Ends IO_FLUSHER for this thread, if it is in force: under it swapoff(2) could not reclaim.
void end_io_flusher();

}  // namespace vramswap
