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
/// The memory is freed at once when the last reference to it is gone. References are every
/// VramMemory of it in any process, and every file descriptor exported from it. A process that
/// dies, even by a CUDA exception, drops only its own references.
///
/// Sizes must be positive multiples of granularity(). Destroy a VramMemory before its Context.
class VramMemory {
 public:
  /// The smallest unit of allocation in bytes: 2 MiB on every GPU tested so far.
  static Result<std::uint64_t> granularity(const Context&);

  /// Allocates memory. It may still hold data of another program: scrub() it. Fails with
  /// CUDA_ERROR_OUT_OF_MEMORY if the device has less than `size_bytes` free. After a failure
  /// nothing stays allocated.
  static Result<VramMemory> create(const Context&, std::uint64_t size_bytes);

  /// The same without addresses for it: a new file descriptor that holds it, as export_fd().
  static Result<int> create_fd(const Context&, std::uint64_t size_bytes);

  /// Maps the memory behind `fd`, which export_fd() returned in this or another process. The caller
  /// keeps `fd`. The driver cannot tell the size or the device of the memory from it, so the caller
  /// must remember both. Fails with some CUDA error (CUDA_ERROR_UNKNOWN was seen) if `fd` is not
  /// VRAM, if a GPU reset destroyed the VRAM, or if the size is above the real one.
  static Result<VramMemory> import(const Context&, int fd, std::uint64_t size_bytes);

  VramMemory(VramMemory&&) noexcept;
  VramMemory& operator=(VramMemory&&) noexcept;
  ~VramMemory();

  /// Returns a new file descriptor, close-on-exec, that holds the memory. The caller owns it and
  /// closes it. It can only be imported, passed to another process, and closed.
  Result<int> export_fd() const;

  /// Fills the memory with zeros and waits until that is done. No copy may use the memory
  /// meanwhile: copies in a Stream have no order with this.
  Result<void> scrub();

  api::CUdeviceptr device_pointer() const { return address_; }
  std::uint64_t size_bytes() const { return size_bytes_; }

 private:
  /// How far the memory has been set up; release() undoes that much.
  enum class Stage { none, allocated, reserved, mapped };

  VramMemory(const Context& context, std::uint64_t size_bytes);

  static Result<VramMemory> allocate(const Context&, std::uint64_t size_bytes);
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
