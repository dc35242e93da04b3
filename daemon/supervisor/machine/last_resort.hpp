// The kernel's OOM killer, for a worker that cannot start because the machine has no memory.
#pragma once

#include <cstdint>

namespace vramswap {

// It works while the reactor is stuck.
class LastResort {
 public:
  virtual ~LastResort() = default;
  // From now on until end(): each time 10 s have passed and less than `needed_bytes` of memory are
  // available, the kernel kills the process that its OOM killer chooses. It does not kill another
  // one unless the last kill has changed what is available.
  virtual void begin(std::uint64_t needed_bytes) = 0;
  // Harmless when nothing has begun.
  virtual void end() = 0;
};

}  // namespace vramswap
