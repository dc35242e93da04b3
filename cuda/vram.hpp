// VRAM that outlives the process using it.
#pragma once

#include <cstdint>
#include <string>

#include "cuda/context.hpp"
#include "cuda/driver.hpp"
#include "cuda/error.hpp"

namespace vramswap::cuda {

/// A block of VRAM, mapped for the device and held by this process.
///
/// The memory itself is freed, at once, when the last of these is gone: every VramMemory of it in
/// any process, and every file descriptor exported from it. A process that dies by any cause,
/// a CUDA exception included, only takes its own holds along.
///
/// Sizes must be positive multiples of granularity(). Must be gone before its Context.
class VramMemory {
 public:
  /// Smallest unit of allocation in bytes: 2 MiB on every GPU so far.
  static Result<std::uint64_t> granularity(const Context&);

  /// Allocates. The content is whatever was there before, possibly another program's: scrub() it.
  /// CUDA_ERROR_OUT_OF_MEMORY if the device has less than `size_bytes` free; a failure leaves
  /// nothing behind.
  static Result<VramMemory> create(const Context&, std::uint64_t size_bytes);

  /// Takes hold of the memory behind `fd`, which came from export_fd() here or in another process
  /// and stays the caller's. Neither the fd nor the driver can tell its size or its device, so
  /// both must be remembered beside it. An fd that is not VRAM, or whose VRAM went with a GPU
  /// reset, fails with some CUDA error (CUDA_ERROR_UNKNOWN was seen); so does a size above the
  /// real one.
  static Result<VramMemory> import(const Context&, int fd, std::uint64_t size_bytes);

  VramMemory(VramMemory&&) noexcept;
  VramMemory& operator=(VramMemory&&) noexcept;
  ~VramMemory();

  /// A new file descriptor, close-on-exec, that holds the memory. The caller owns it and closes it.
  /// It is only good for import(), for passing on and for closing.
  Result<int> export_fd() const;

  /// Fills all of it with zeros and waits until that is done. Nothing else may be using it: copies
  /// in a Stream are not ordered with this.
  Result<void> scrub();

  api::CUdeviceptr device_pointer() const { return address_; }
  std::uint64_t size_bytes() const { return size_bytes_; }

 private:
  /// How far making it has come, and so what has to be undone.
  enum class Stage { none, allocated, reserved, mapped };

  VramMemory(const Context& context, std::uint64_t size_bytes);

  static Result<VramMemory> unmapped(const Context&, std::uint64_t size_bytes);
  Result<void> map(const Context&);
  void release();
  Error error(api::CUresult code, const char* call) const;

  Driver driver_;
  std::string label_;
  std::uint64_t size_bytes_;
  api::CUmemGenericAllocationHandle handle_ = 0;
  api::CUdeviceptr address_ = 0;
  Stage stage_ = Stage::none;
};

}  // namespace vramswap::cuda
