// Copies between host memory and VRAM.
#pragma once

#include <cstddef>
#include <string>

#include "cuda/context.hpp"
#include "cuda/driver.hpp"
#include "cuda/error.hpp"

namespace vramswap::cuda {

/// A queue of copies, done in their order, not ordered with any other stream. One thread at a time.
///
/// The copies only queue: host memory must stay valid, and unchanged if it is the source, until
/// synchronize(). It should be registered (HostRegistration), or the driver takes a slower way that
/// also waits. Nothing here allocates host memory unless it fails.
///
/// A CUDA exception shows up at any later call, with the code of its cause. Which of the queued
/// copies were done is then unknown. Must be gone before its Context.
class Stream {
 public:
  static Result<Stream> create(const Context&);

  Stream(Stream&&) noexcept;
  Stream& operator=(Stream&&) noexcept;
  ~Stream();

  /// CUDA_ERROR_INVALID_VALUE if the device range is not all within mapped memory.
  Result<void> copy_to_host(void* target, api::CUdeviceptr source, std::size_t bytes);
  Result<void> copy_from_host(api::CUdeviceptr target, const void* source, std::size_t bytes);

  /// Waits until all that was queued is done, spinning (see Context). A hung GPU never returns.
  Result<void> synchronize();

 private:
  Stream(const Context& context, api::CUstream stream);

  Driver driver_;
  std::string label_;
  api::CUstream stream_;  // null once moved from
};

}  // namespace vramswap::cuda
