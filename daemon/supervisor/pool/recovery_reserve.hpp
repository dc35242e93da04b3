// What a worker needs to start on a machine that has nothing left: set aside, given up while a
// worker starts, taken again afterwards. The last resort is the kernel's OOM killer.
#pragma once

#include <cstdint>

#include "daemon/supervisor/machine/machine.hpp"
#include "daemon/supervisor/pool/gate.hpp"

namespace vramswap {

class RecoveryReserve {
 public:
  // `is_kept` false: nothing is set aside.
  RecoveryReserve(Machine& machine, bool is_kept)
      : machine_(machine),
        is_kept_(is_kept),
        memory_(machine.memory_reserve),
        starts_(machine.io),
        recoveries_(machine.io) {}

  // For a worker that takes `worker_bytes` of memory before it has a store, and some more for
  // importing its stores.
  void set_worker_bytes(std::uint64_t worker_bytes);
  // Takes all of it at once, while there is memory.
  awaitable<Result<void>> fill();
  // Takes it again step by step, unless a worker starts or is being recovered.
  void refill();
  // For good: the pool is down.
  void release();

  // A worker wakes, or the caller starts one now. The pass is to be gone as soon as the worker
  // serves or has ended. Until then memory is given up for it, while the machine is short of memory
  // or the start takes long, and the last resort stands by. On a machine that is short of memory
  // the first part has been given up when this returns.
  Gate::Pass begin_start();

  // A worker is being recovered until the pass is gone: the reserve is not filled meanwhile.
  Gate::Pass begin_recovery() { return *recoveries_.enter(); }

 private:
  awaitable<void> fill_in_steps();
  awaitable<void> give_up_in_steps();
  bool is_memory_short() const;

  Machine& machine_;
  const bool is_kept_;
  MemoryReserve& memory_;
  Gate starts_;
  Gate recoveries_;
  bool is_filling_ = false;
  bool is_giving_up_ = false;
};

}  // namespace vramswap
