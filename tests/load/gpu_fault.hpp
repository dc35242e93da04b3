// A GPU exception on demand, for tests of a worker after one. Production code has no way to cause
// it: vramswap launches no kernels.
#pragma once

namespace vramswap::load {

// Call before any other thread is started. From then on SIGUSR1 lets a kernel write to an illegal
// address in the context that the process has by then; every later call in that context fails.
void fault_on_sigusr1();

}  // namespace vramswap::load
