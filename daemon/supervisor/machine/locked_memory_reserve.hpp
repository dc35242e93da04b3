// The reserve as host memory that no process has mapped: files without a name, one for each part
// that is released as a whole. A mapping would not do. Filling one holds the lock of the process's
// address space for as long as the kernel looks for a page, and with that lock held the reactor
// could neither release memory, nor fork, nor grow its heap. Children do not keep the memory
// either: the descriptors are close-on-exec.
#pragma once

#include <memory>

#include "daemon/supervisor/machine/memory_reserve.hpp"
#include "daemon/system/host_memory.hpp"

namespace vramswap {

class LockedMemoryReserve : public MemoryReserve {
 public:
  // Starts the thread that fills it. Swappable memory is for tests.
  explicit LockedMemoryReserve(asio::io_context& io, HostMemory kind = HostMemory::unswappable);
  // Waits for a fill_step() that is under way; its caller never resumes.
  ~LockedMemoryReserve() override;

  void set_size(std::uint64_t bytes) override;
  std::uint64_t size_bytes() const override;
  bool is_full() const override;
  bool is_empty() const override;
  awaitable<Result<void>> fill_step() override;
  void release_step() override;
  void release() override;

 private:
  struct State;
  class Filler;
  const std::shared_ptr<State> state_;
  const std::unique_ptr<Filler> filler_;
};

}  // namespace vramswap
