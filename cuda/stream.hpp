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

/// A queue of copies. The GPU does them in order; there is no order between two streams. Only one
/// thread may use a stream at a time.
///
/// The copy functions only queue: host memory must stay valid until synchronize(), and unchanged if
/// it is the source. It should be registered (HostRegistration); otherwise the driver uses a slower
/// way that also blocks. No function allocates host memory unless it fails.
///
/// After a CUDA exception any later call may fail, with the code of the cause. It is then unknown
/// which of the queued copies were done. Destroy a Stream before its Context.
class Stream {
 public:
  static Result<Stream> create(const Context&);

  Stream(Stream&&) noexcept;
  Stream& operator=(Stream&&) noexcept;
  ~Stream();

  /// Both fail with CUDA_ERROR_INVALID_VALUE if part of the device range is not mapped.
  Result<void> copy_to_host(void* target, api::CUdeviceptr source, std::size_t bytes);
  Result<void> copy_from_host(api::CUdeviceptr target, const void* source, std::size_t bytes);

  /// Queues many copies with one call: `bytes[i]` from `sources[i]` to `targets[i]`. There is no
  /// order between them. The arrays may be reused when this returns. Requires has_batch_copy()
  /// (CUDA 12.8).
  bool has_batch_copy() const { return driver_.newer().cuMemcpyBatchAsync != nullptr; }
  Result<void> copy_batch(std::span<api::CUdeviceptr> targets, std::span<api::CUdeviceptr> sources,
                          std::span<std::size_t> bytes);

  /// The GPU writes `value` to 4 bytes of registered host memory when everything queued before is
  /// done. A thread that sees the value sees the copies too. Requires has_write_value()
  /// (CUDA 11.7).
  bool has_write_value() const { return driver_.newer().cuStreamWriteValue32_v2 != nullptr; }
  Result<void> write_value(api::CUdeviceptr target, std::uint32_t value);

  /// For queueing other work.
  api::CUstream handle() const { return stream_; }

  /// Whether everything queued is done. Asks the driver, and takes the lock that all its calls
  /// take.
  Result<bool> is_done();

  /// Waits until everything queued is done (see Wait). On a hung GPU this never returns.
  Result<void> synchronize();

 private:
  Stream(const Context& context, api::CUstream stream);

  Driver driver_;
  std::string label_;
  api::CUstream stream_;  // null once moved from
};

}  // namespace vramswap::cuda
