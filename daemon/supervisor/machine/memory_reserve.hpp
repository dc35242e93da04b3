// Memory set aside for a worker that has to start while the machine has none left: reclaim could
// only swap to the device that waits for this worker.
#pragma once

#include <cstdint>

#include "daemon/supervisor/asio.hpp"

namespace vramswap {

class MemoryReserve {
 public:
  virtual ~MemoryReserve() = default;

  // Sets how much it is to hold, at least. It holds less until it has been filled.
  virtual void set_size(std::uint64_t bytes) = 0;
  virtual std::uint64_t size_bytes() const = 0;
  virtual bool is_full() const = 0;
  virtual bool is_empty() const = 0;

  // Takes a little more. The caller waits until the kernel has found the memory, and the reactor
  // goes on meanwhile.
  virtual awaitable<Result<void>> fill_step() = 0;
  // Gives a thirty-second of its size to the kernel, at once. Any process can take what is free
  // there, so memory that the worker does not need yet is safer in the reserve.
  virtual void release_step() = 0;
  // Gives all of it to the kernel, at once.
  virtual void release() = 0;
};

}  // namespace vramswap
