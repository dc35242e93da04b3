// Host memory that the GPU can read and write directly.
#pragma once

#include <cstddef>
#include <span>

#include "cuda/context.hpp"
#include "cuda/driver.hpp"
#include "cuda/error.hpp"

namespace vramswap::cuda {

/// Pins host memory of the caller for the GPU, so that copies do not go through buffers of the
/// driver. The memory is registered for every context of the process, and mapped into the address
/// space of the device.
///
/// The memory must stay mapped until the HostRegistration is destroyed. Shared mappings (of a
/// memfd) are allowed. Destroy a HostRegistration before its Context.
class HostRegistration {
 public:
  static Result<HostRegistration> create(const Context&, std::span<std::byte> memory);

  HostRegistration(HostRegistration&&) noexcept;
  HostRegistration& operator=(HostRegistration&&) noexcept;
  ~HostRegistration();

  /// The start of the memory in the address space of the device.
  api::CUdeviceptr device_pointer() const { return device_pointer_; }

 private:
  HostRegistration(const Driver& driver, void* memory) : driver_(driver), memory_(memory) {}

  Driver driver_;
  api::CUdeviceptr device_pointer_ = 0;
  void* memory_;  // null once moved from
};

}  // namespace vramswap::cuda
