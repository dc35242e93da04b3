// The machine that this process runs on.
#pragma once

#include "daemon/supervisor/machine/kernel_last_resort.hpp"
#include "daemon/supervisor/machine/kernel_nbd_driver.hpp"
#include "daemon/supervisor/machine/kernel_paths.hpp"
#include "daemon/supervisor/machine/kernel_swap_calls.hpp"
#include "daemon/supervisor/machine/locked_memory_reserve.hpp"
#include "daemon/supervisor/machine/machine.hpp"
#include "daemon/supervisor/machine/process_launcher.hpp"
#include "daemon/supervisor/machine/steady_clock.hpp"
#include "daemon/supervisor/machine/systemd.hpp"

namespace vramswap {

class RealMachine {
 public:
  explicit RealMachine(const KernelPaths& paths)
      : clock_(io_),
        nbd_(io_, paths.block_directory),
        launcher_(io_, paths.processes),
        swap_(io_, clock_, paths),
        systemd_(io_),
        memory_reserve_(io_),
        last_resort_(paths) {}
  RealMachine(const RealMachine&) = delete;

  Machine interfaces() {
    return {io_, clock_, nbd_, launcher_, swap_, systemd_, memory_reserve_, last_resort_};
  }

 private:
  asio::io_context io_{1};
  SteadyClock clock_;
  KernelNbdDriver nbd_;
  ProcessLauncher launcher_;
  KernelSwapCalls swap_;
  Systemd systemd_;
  LockedMemoryReserve memory_reserve_;
  KernelLastResort last_resort_;
};

}  // namespace vramswap
