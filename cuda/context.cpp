#include "cuda/context.hpp"

#include <cstddef>
#include <utility>

#include "cuda/advice.hpp"

namespace vramswap::cuda {

Result<Context> Context::create(const Driver& driver, const DeviceInfo& device) {
  // No thread waits inside the driver (see Wait). If the driver itself waits, it must not spin: the
  // threads that call it run at realtime priority.
  auto code =
      driver->cuDevicePrimaryCtxSetFlags_v2(device.ordinal, api::kContextScheduleBlockingSync);
  // A context that is active already keeps its flags (drivers before CUDA 11 report that). It works
  // too.
  if (code != api::CUDA_SUCCESS && code != api::CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE) {
    return std::unexpected(driver.error(code, "cuDevicePrimaryCtxSetFlags", device.label()));
  }
  api::CUcontext handle = nullptr;
  code = driver->cuDevicePrimaryCtxRetain(&handle, device.ordinal);
  if (code != api::CUDA_SUCCESS) {
    Error error = driver.error(code, "cuDevicePrimaryCtxRetain", device.label());
    if (code == api::CUDA_ERROR_DEVICE_UNAVAILABLE || code == api::CUDA_ERROR_UNKNOWN) {
      error.advice = kComputeModeAdvice;
    }
    return std::unexpected(std::move(error));
  }
  Context context(driver, device, handle);
  if (auto current = context.make_current(); !current) {
    return std::unexpected(std::move(current.error()));
  }
  return context;
}

Context::Context(Context&& other) noexcept
    : driver_(other.driver_),
      device_(std::move(other.device_)),
      context_(std::exchange(other.context_, nullptr)) {}

Context& Context::operator=(Context&& other) noexcept {
  std::swap(driver_, other.driver_);
  std::swap(device_, other.device_);
  std::swap(context_, other.context_);
  return *this;
}

Context::~Context() {
  if (context_ != nullptr) {
    driver_->cuDevicePrimaryCtxRelease_v2(device_.ordinal);
  }
}

Result<void> Context::make_current() const {
  if (auto code = driver_->cuCtxSetCurrent(context_); code != api::CUDA_SUCCESS) {
    return std::unexpected(driver_.error(code, "cuCtxSetCurrent", device_.label()));
  }
  return {};
}

Result<MemoryInfo> Context::memory_info() const {
  std::size_t free_bytes = 0;
  std::size_t total_bytes = 0;
  if (auto code = driver_->cuMemGetInfo_v2(&free_bytes, &total_bytes); code != api::CUDA_SUCCESS) {
    return std::unexpected(driver_.error(code, "cuMemGetInfo", device_.label()));
  }
  return MemoryInfo{.free_bytes = free_bytes, .total_bytes = total_bytes};
}

}  // namespace vramswap::cuda
