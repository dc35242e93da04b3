// The device whose stores are measured, and the plainest way into them: one copy after the other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "daemon/base/error.hpp"
#include "daemon/worker/store/store.hpp"

namespace vramswap::bench {

// Of one thread. A copy is queued, and done when wait() has returned.
class CopyQueue {
 public:
  virtual ~CopyQueue() = default;
  // `host` is inside the memory that the queue was made with; `address` as in vramswap::Copy.
  virtual Result<void> to_host(std::byte* host, std::uint64_t address, std::size_t bytes) = 0;
  virtual Result<void> from_host(const std::byte* host, std::uint64_t address,
                                 std::size_t bytes) = 0;
  virtual Result<void> wait() = 0;
};

class StoreAccess {
 public:
  virtual ~StoreAccess() = default;
  virtual StoreDevice& device() = 0;
  // Called in the thread that will use it. Pins `host`, which outlives the queue, for the GPU.
  virtual Result<std::unique_ptr<CopyQueue>> make_queue(std::span<std::byte> host) = 0;
};

// Call it once, before any thread is started; `gpu` as in make_vram_device.
Result<std::unique_ptr<StoreAccess>> open_vram(const std::string& gpu);
Result<std::unique_ptr<StoreAccess>> open_ram();

}  // namespace vramswap::bench
