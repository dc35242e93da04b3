// Host memory that the GPU reads and writes by itself.
#pragma once

#include <cstddef>
#include <span>

#include "cuda/context.hpp"
#include "cuda/driver.hpp"
#include "cuda/error.hpp"

namespace vramswap::cuda {

/// Pins memory of the caller for the GPU, so that copies to and from it run without a detour
/// through the driver's own buffers. Registered for every context of the process and mapped into
/// the device's address space.
///
/// The memory must stay mapped until this is gone; shared mappings (of a memfd) will do. Must be
/// gone before its Context.
class HostRegistration {
 public:
  static Result<HostRegistration> create(const Context&, std::span<std::byte> memory);

  HostRegistration(HostRegistration&&) noexcept;
  HostRegistration& operator=(HostRegistration&&) noexcept;
  ~HostRegistration();

  /// Where the memory begins for the device.
  api::CUdeviceptr device_pointer() const { return device_pointer_; }

 private:
  HostRegistration(const Driver& driver, void* memory) : driver_(driver), memory_(memory) {}

  Driver driver_;
  api::CUdeviceptr device_pointer_ = 0;
  void* memory_;  // null once moved from
};

}  // namespace vramswap::cuda
