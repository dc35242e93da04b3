#include "cuda/host_registration.hpp"

#include <fmt/format.h>

#include <utility>

namespace vramswap::cuda {

Result<HostRegistration> HostRegistration::create(const Context& context,
                                                  std::span<std::byte> memory) {
  constexpr unsigned kFlags = api::kHostRegisterPortable | api::kHostRegisterDeviceMap;
  const Driver& driver = context.driver();
  auto code = driver->cuMemHostRegister_v2(memory.data(), memory.size(), kFlags);
  if (code != api::CUDA_SUCCESS) {
    return std::unexpected(driver.error(
        code, fmt::format("cuMemHostRegister {} bytes", memory.size()), context.device().label()));
  }
  HostRegistration registration(driver, memory.data());
  code = driver->cuMemHostGetDevicePointer_v2(&registration.device_pointer_, memory.data(), 0);
  if (code != api::CUDA_SUCCESS) {
    return std::unexpected(
        driver.error(code, "cuMemHostGetDevicePointer", context.device().label()));
  }
  return registration;
}

HostRegistration::HostRegistration(HostRegistration&& other) noexcept
    : driver_(other.driver_),
      device_pointer_(other.device_pointer_),
      memory_(std::exchange(other.memory_, nullptr)) {}

HostRegistration& HostRegistration::operator=(HostRegistration&& other) noexcept {
  std::swap(driver_, other.driver_);
  std::swap(device_pointer_, other.device_pointer_);
  std::swap(memory_, other.memory_);
  return *this;
}

HostRegistration::~HostRegistration() {
  if (memory_ != nullptr) {
    driver_->cuMemHostUnregister(memory_);
  }
}

}  // namespace vramswap::cuda
