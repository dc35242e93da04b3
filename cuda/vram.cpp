#include "cuda/vram.hpp"

#include <fcntl.h>
#include <fmt/format.h>

#include <cstddef>
#include <utility>

#include "cuda/advice.hpp"
#include "cuda/wait.hpp"

namespace vramswap::cuda {
namespace {

api::CUmemLocation location_of(const Context& context) {
  return {.type = api::CU_MEM_LOCATION_TYPE_DEVICE, .id = context.device().ordinal};
}

api::CUmemAllocationProp exportable(const Context& context) {
  api::CUmemAllocationProp properties{};
  properties.type = api::CU_MEM_ALLOCATION_TYPE_PINNED;
  // Memory can be exported later only if that is requested here. cuMemAlloc memory cannot be.
  properties.requestedHandleTypes = api::CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
  properties.location = location_of(context);
  return properties;
}

}  // namespace

Result<std::uint64_t> VramMemory::granularity(const Context& context) {
  std::size_t bytes = 0;
  auto properties = exportable(context);
  auto code = context.driver()->cuMemGetAllocationGranularity(
      &bytes, &properties, api::CU_MEM_ALLOC_GRANULARITY_MINIMUM);
  if (code != api::CUDA_SUCCESS) {
    return std::unexpected(
        context.driver().error(code, "cuMemGetAllocationGranularity", context.device().label()));
  }
  return bytes;
}

Result<VramMemory> VramMemory::allocate(const Context& context, std::uint64_t size_bytes) {
  auto memory = unmapped(context, size_bytes);
  if (!memory) {
    return memory;
  }
  auto properties = exportable(context);
  auto code = memory->driver_->cuMemCreate(&memory->handle_, size_bytes, &properties, 0);
  if (code != api::CUDA_SUCCESS) {
    Error error = memory->error(code, "cuMemCreate");
    if (code == api::CUDA_ERROR_NOT_SUPPORTED) {
      error.advice = kNoExportAdvice;
    }
    return std::unexpected(std::move(error));
  }
  memory->stage_ = Stage::allocated;
  return memory;
}

Result<VramMemory> VramMemory::create(const Context& context, std::uint64_t size_bytes) {
  auto memory = allocate(context, size_bytes);
  if (!memory) {
    return memory;
  }
  if (auto mapped = memory->map(context); !mapped) {
    return std::unexpected(std::move(mapped.error()));
  }
  return memory;
}

Result<int> VramMemory::create_fd(const Context& context, std::uint64_t size_bytes) {
  const auto memory = allocate(context, size_bytes);
  if (!memory) {
    return memory.error();
  }
  return memory->export_fd();
}

Result<VramMemory> VramMemory::import(const Context& context, int fd, std::uint64_t size_bytes) {
  auto memory = unmapped(context, size_bytes);
  if (!memory) {
    return memory;
  }
  // The API passes a file descriptor as the value of the pointer.
  void* shareable = reinterpret_cast<void*>(static_cast<std::intptr_t>(fd));
  auto code = memory->driver_->cuMemImportFromShareableHandle(
      &memory->handle_, shareable, api::CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR);
  if (code != api::CUDA_SUCCESS) {
    return std::unexpected(memory->error(code, "cuMemImportFromShareableHandle"));
  }
  memory->stage_ = Stage::allocated;
  if (auto mapped = memory->map(context); !mapped) {
    return std::unexpected(std::move(mapped.error()));
  }
  return memory;
}

VramMemory::VramMemory(const Context& context, std::uint64_t size_bytes)
    : driver_(context.driver()), label_(context.device().label()), size_bytes_(size_bytes) {}

VramMemory::VramMemory(VramMemory&& other) noexcept
    : driver_(other.driver_),
      label_(std::move(other.label_)),
      size_bytes_(other.size_bytes_),
      handle_(other.handle_),
      address_(other.address_),
      stage_(std::exchange(other.stage_, Stage::none)) {}

VramMemory& VramMemory::operator=(VramMemory&& other) noexcept {
  std::swap(driver_, other.driver_);
  std::swap(label_, other.label_);
  std::swap(size_bytes_, other.size_bytes_);
  std::swap(handle_, other.handle_);
  std::swap(address_, other.address_);
  std::swap(stage_, other.stage_);
  return *this;
}

VramMemory::~VramMemory() {
  release();
}

Result<int> VramMemory::export_fd() const {
  int fd = -1;
  auto code = driver_->cuMemExportToShareableHandle(
      &fd, handle_, api::CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0);
  if (code != api::CUDA_SUCCESS) {
    return std::unexpected(error(code, "cuMemExportToShareableHandle"));
  }
  fcntl(fd, F_SETFD, FD_CLOEXEC);  // cannot fail on an open descriptor
  return fd;
}

Result<void> VramMemory::scrub() {
  auto code = driver_->cuMemsetD8_v2(address_, 0, size_bytes_);
  if (code == api::CUDA_SUCCESS) {
    code = wait_for(driver_, nullptr);  // a memset of device memory returns before it is done
  }
  if (code != api::CUDA_SUCCESS) {
    return std::unexpected(error(code, "scrub (cuMemsetD8)"));
  }
  return {};
}

Result<VramMemory> VramMemory::unmapped(const Context& context, std::uint64_t size_bytes) {
  auto unit = granularity(context);
  if (!unit) {
    return std::unexpected(std::move(unit.error()));
  }
  if (size_bytes == 0 || size_bytes % *unit != 0) {
    return std::unexpected(
        Error{.operation =
                  fmt::format("size {} is not a positive multiple of {} bytes", size_bytes, *unit),
              .object = context.device().label(),
              .name = {},
              .advice = {}});
  }
  return VramMemory(context, size_bytes);
}

Result<void> VramMemory::map(const Context& context) {
  auto code = driver_->cuMemAddressReserve(&address_, size_bytes_, 0, 0, 0);
  if (code != api::CUDA_SUCCESS) {
    return std::unexpected(error(code, "cuMemAddressReserve"));
  }
  stage_ = Stage::reserved;
  code = driver_->cuMemMap(address_, size_bytes_, 0, handle_, 0);
  if (code != api::CUDA_SUCCESS) {
    return std::unexpected(error(code, "cuMemMap"));
  }
  stage_ = Stage::mapped;
  api::CUmemAccessDesc access{.location = location_of(context),
                              .flags = api::CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
  code = driver_->cuMemSetAccess(address_, size_bytes_, &access, 1);
  if (code != api::CUDA_SUCCESS) {
    return std::unexpected(error(code, "cuMemSetAccess"));
  }
  return {};
}

// Results are ignored: after a CUDA exception all of these fail, and the end of the process does
// their work.
void VramMemory::release() {
  switch (std::exchange(stage_, Stage::none)) {
    case Stage::mapped:
      driver_->cuMemUnmap(address_, size_bytes_);
      [[fallthrough]];
    case Stage::reserved:
      driver_->cuMemAddressFree(address_, size_bytes_);
      [[fallthrough]];
    case Stage::allocated:
      driver_->cuMemRelease(handle_);
      [[fallthrough]];
    case Stage::none:
      break;
  }
}

Error VramMemory::error(api::CUresult code, const char* call) const {
  return driver_.error(code, fmt::format("{} {} bytes", call, size_bytes_), label_);
}

}  // namespace vramswap::cuda
