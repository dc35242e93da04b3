// The CUDA context of a worker.
#pragma once

#include <cstdint>

#include "cuda/device.hpp"
#include "cuda/driver.hpp"
#include "cuda/error.hpp"

namespace vramswap::cuda {

struct MemoryInfo {
  std::uint64_t free_bytes = 0;   ///< free now, for any process
  std::uint64_t total_bytes = 0;  ///< of the whole device
};

/// Keeps a device's primary context alive. It costs some 110 MB of host memory (220 MB
/// under mlockall), some hundred MB of VRAM and, as long as it exists, the idle clocks and power of
/// the GPU (measured on an H200: +43 W).
///
/// What is made from a Context must be gone before it, and every function of this library that
/// talks to the device must run on a thread that has called make_current().
class Context {
 public:
  /// Makes the context and makes it current on the calling thread. Waiting for the GPU is by
  /// spinning: a copy of a page takes less time than falling asleep and waking up.
  static Result<Context> create(const Driver&, const DeviceInfo&);

  Context(Context&&) noexcept;
  Context& operator=(Context&&) noexcept;
  ~Context();

  Result<void> make_current() const;
  Result<MemoryInfo> memory_info() const;

  const Driver& driver() const { return driver_; }
  const DeviceInfo& device() const { return device_; }

 private:
  Context(const Driver& driver, const DeviceInfo& device, api::CUcontext context)
      : driver_(driver), device_(device), context_(context) {}

  Driver driver_;
  DeviceInfo device_;
  api::CUcontext context_;  // null once moved from
};

}  // namespace vramswap::cuda
