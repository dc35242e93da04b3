#include "cuda/stream.hpp"

#include <fmt/format.h>

#include <utility>

#include "cuda/wait.hpp"

namespace vramswap::cuda {

Result<Stream> Stream::create(const Context& context) {
  api::CUstream stream = nullptr;
  // Non-blocking: otherwise each copy would wait for work in the legacy default stream.
  auto code = context.driver()->cuStreamCreate(&stream, api::kStreamNonBlocking);
  if (code != api::CUDA_SUCCESS) {
    return std::unexpected(
        context.driver().error(code, "cuStreamCreate", context.device().label()));
  }
  return Stream(context, stream);
}

Stream::Stream(const Context& context, api::CUstream stream)
    : driver_(context.driver()), label_(context.device().label()), stream_(stream) {}

Stream::Stream(Stream&& other) noexcept
    : driver_(other.driver_),
      label_(std::move(other.label_)),
      stream_(std::exchange(other.stream_, nullptr)) {}

Stream& Stream::operator=(Stream&& other) noexcept {
  std::swap(driver_, other.driver_);
  std::swap(label_, other.label_);
  std::swap(stream_, other.stream_);
  return *this;
}

Stream::~Stream() {
  if (stream_ != nullptr) {
    driver_->cuStreamDestroy_v2(stream_);
  }
}

Result<void> Stream::copy_to_host(void* target, api::CUdeviceptr source, std::size_t bytes) {
  auto code = driver_->cuMemcpyDtoHAsync_v2(target, source, bytes, stream_);
  if (code != api::CUDA_SUCCESS) [[unlikely]] {
    return std::unexpected(driver_.error(
        code, fmt::format("cuMemcpyDtoHAsync {} bytes from {:#x}", bytes, source), label_));
  }
  return {};
}

Result<void> Stream::copy_from_host(api::CUdeviceptr target, const void* source,
                                    std::size_t bytes) {
  auto code = driver_->cuMemcpyHtoDAsync_v2(target, source, bytes, stream_);
  if (code != api::CUDA_SUCCESS) [[unlikely]] {
    return std::unexpected(driver_.error(
        code, fmt::format("cuMemcpyHtoDAsync {} bytes to {:#x}", bytes, target), label_));
  }
  return {};
}

Result<void> Stream::copy_batch(std::span<api::CUdeviceptr> targets,
                                std::span<api::CUdeviceptr> sources, std::span<std::size_t> bytes) {
  api::CUmemcpyAttributes attributes{};
  attributes.srcAccessOrder = api::CU_MEMCPY_SRC_ACCESS_ORDER_STREAM;
  std::size_t first_with_attributes = 0;
  std::size_t failed = 0;
  auto code = driver_.newer().cuMemcpyBatchAsync(targets.data(), sources.data(), bytes.data(),
                                                 targets.size(), &attributes,
                                                 &first_with_attributes, 1, &failed, stream_);
  if (code != api::CUDA_SUCCESS) [[unlikely]] {
    return std::unexpected(
        driver_.error(code, fmt::format("cuMemcpyBatchAsync of {}", targets.size()), label_));
  }
  return {};
}

Result<void> Stream::write_value(api::CUdeviceptr target, std::uint32_t value) {
  auto code = driver_.newer().cuStreamWriteValue32_v2(stream_, target, value, 0);
  if (code != api::CUDA_SUCCESS) [[unlikely]] {
    return std::unexpected(driver_.error(code, "cuStreamWriteValue32", label_));
  }
  return {};
}

Result<bool> Stream::is_done() {
  const auto code = driver_->cuStreamQuery(stream_);
  if (code == api::CUDA_ERROR_NOT_READY) return false;
  if (code != api::CUDA_SUCCESS) [[unlikely]] {
    return std::unexpected(driver_.error(code, "cuStreamQuery", label_));
  }
  return true;
}

Result<void> Stream::synchronize() {
  if (auto code = wait_for(driver_, stream_); code != api::CUDA_SUCCESS) [[unlikely]] {
    return std::unexpected(driver_.error(code, "cuStreamQuery", label_));
  }
  return {};
}

}  // namespace vramswap::cuda
