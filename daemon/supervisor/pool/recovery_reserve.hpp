// What a worker needs to start on a machine that has nothing left: set aside, given up while a
// worker starts, taken again afterwards. The last resort is the kernel's OOM killer.
#pragma once

#include <cstdint>
#include <memory>

#include "daemon/supervisor/machine/machine.hpp"
#include "daemon/supervisor/pool/gate.hpp"
#include "daemon/supervisor/pool/memory_reserve.hpp"

namespace vramswap {

class RecoveryReserve {
 public:
  // `is_kept` false: nothing is set aside.
  RecoveryReserve(Machine& machine, bool is_kept)
      : machine_(machine), is_kept_(is_kept), starts_(machine.io), recoveries_(machine.io) {}

  // For a worker that takes `worker_bytes` of memory before it has a store, and some more for
  // importing its stores.
  void set_worker_bytes(std::uint64_t worker_bytes);
  // Takes all of it at once, while there is memory.
  Result<void> fill();
  // Takes it again step by step, unless a worker starts or is being recovered.
  void refill();
  // For good: the pool is down.
  void release();

  // A worker starts or wakes: memory is given up for it until the pass is gone, while the machine
  // is short of it or where that seems to help no more.
  Gate::Pass begin_start();

  // A worker is being recovered for as long as the return value lives. While that goes on and the
  // machine has no memory, the OOM killer is called every 10 s.
  std::shared_ptr<Gate::Pass> begin_recovery();

 private:
  awaitable<void> fill_in_steps();
  awaitable<void> give_up_in_steps();
  awaitable<void> call_oom_killer_if_starved(std::weak_ptr<Gate::Pass> recovery);

  Machine& machine_;
  const bool is_kept_;
  MemoryReserve memory_;
  Gate starts_;
  Gate recoveries_;
  bool is_filling_ = false;
  bool is_giving_up_ = false;
};

}  // namespace vramswap
