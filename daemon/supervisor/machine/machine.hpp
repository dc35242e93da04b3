// All that is outside of the supervisor: the kernel, the workers, the service manager, time. Each
// is an interface, so that tests and the simulation put something else in its place.
#pragma once

#include "daemon/supervisor/machine/clock.hpp"
#include "daemon/supervisor/machine/last_resort.hpp"
#include "daemon/supervisor/machine/memory_reserve.hpp"
#include "daemon/supervisor/machine/nbd_driver.hpp"
#include "daemon/supervisor/machine/service_manager.hpp"
#include "daemon/supervisor/machine/swap_calls.hpp"
#include "daemon/supervisor/machine/worker_launcher.hpp"

namespace vramswap {

// What it refers to outlives every part of the supervisor.
struct Machine {
  asio::io_context& io;
  Clock& clock;
  NbdDriver& nbd;
  WorkerLauncher& launcher;
  SwapCalls& swap;
  ServiceManager& service_manager;
  MemoryReserve& memory_reserve;
  LastResort& last_resort;
};

}  // namespace vramswap
