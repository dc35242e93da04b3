// Copies between host memory and VRAM.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
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

  /// Many copies by one call: `bytes[i]` from `sources[i]` to `targets[i]`, in no order among them.
  /// The arrays are free again when it returns. Only if has_batch_copy() (CUDA 12.8).
  bool has_batch_copy() const { return driver_.newer().cuMemcpyBatchAsync != nullptr; }
  Result<void> copy_batch(std::span<api::CUdeviceptr> targets, std::span<api::CUdeviceptr> sources,
                          std::span<std::size_t> bytes);

  /// Writes `value` to 4 bytes of registered host memory when all that was queued before is done:
  /// whoever sees it sees the copies too. Only if has_write_value() (CUDA 11.7).
  bool has_write_value() const { return driver_.newer().cuStreamWriteValue32_v2 != nullptr; }
  Result<void> write_value(api::CUdeviceptr target, std::uint32_t value);

  /// For what else can be queued.
  api::CUstream handle() const { return stream_; }

  /// Waits until all that was queued is done, spinning (see Context). A hung GPU never returns.
  Result<void> synchronize();

 private:
  Stream(const Context& context, api::CUstream stream);

  Driver driver_;
  std::string label_;
  api::CUstream stream_;  // null once moved from
};

}  // namespace vramswap::cuda
