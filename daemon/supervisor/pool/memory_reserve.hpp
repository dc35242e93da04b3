// Memory set aside for a worker that has to start while there is none: its reclaim could only swap
// to the device that waits for it.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "daemon/base/error.hpp"

namespace vramswap {

class MemoryReserve {
 public:
  MemoryReserve() = default;
  MemoryReserve(const MemoryReserve&) = delete;
  ~MemoryReserve() { release(); }

  // What it is to hold, at least; it holds less until it has been filled.
  void set_size(std::size_t bytes);
  std::size_t size_bytes() const { return size_bytes_; }
  bool is_full() const;

  // Takes a little more, resident because the process is locked in memory. In steps, since each may
  // wait for the kernel to free some: while it does, the supervisor is deaf.
  Result<void> fill_step();
  // Gives a part of it, a thirty-second of its size, to the kernel's free list, at once. Whatever
  // is free there is anybody's: what the worker does not need yet is safer here.
  void release_step();
  // Gives all of it.
  void release();

 private:
  std::size_t size_bytes_ = 0;
  std::vector<std::span<std::byte>> pieces_;  // mappings of their own
};

}  // namespace vramswap
