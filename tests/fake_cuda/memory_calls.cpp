// Device memory: allocations, address ranges, mappings.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <mutex>

#include "tests/fake_cuda/state.hpp"

namespace api = vramswap::cuda::api;
using fake_cuda::Allocation;
using fake_cuda::DeviceMemory;
using fake_cuda::enter;
using fake_cuda::enter_with_context;
using fake_cuda::kGranularity;
using fake_cuda::Reservation;
using fake_cuda::state;

namespace {

constexpr auto kNoHandleTypes = api::CUmemAllocationHandleType{};

bool is_size(std::size_t bytes) {
  return bytes != 0 && bytes % kGranularity == 0;
}

Allocation* find_allocation(api::CUmemGenericAllocationHandle handle) {
  auto& table = state().allocations;
  return handle >= 1 && handle <= table.size() && table[handle - 1].in_use ? &table[handle - 1]
                                                                           : nullptr;
}

Reservation* find_reservation(api::CUdeviceptr address, std::size_t bytes) {
  for (Reservation& reservation : state().reservations) {
    if (reservation.base != nullptr && reservation.size_bytes == bytes &&
        reinterpret_cast<std::uintptr_t>(reservation.base) == address) {
      return &reservation;
    }
  }
  return nullptr;
}

/// Keeps the addresses.
void unmap(Reservation& reservation) {
  mmap(reservation.base, reservation.size_bytes, PROT_NONE,
       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  reservation.mapped = false;
  reservation.accessible = false;
}

/// Takes over `fd`.
api::CUresult add_allocation(api::CUmemGenericAllocationHandle* handle, int fd,
                             DeviceMemory::Range range) {
  auto& table = state().allocations;
  auto free = std::ranges::find(table, false, &Allocation::in_use);
  if (free == table.end()) {
    close(fd);
    return api::CUDA_ERROR_OUT_OF_MEMORY;
  }
  *free = {.in_use = true, .fd = fd, .range = range};
  *handle = static_cast<api::CUmemGenericAllocationHandle>(free - table.begin()) + 1;
  return api::CUDA_SUCCESS;
}

}  // namespace

api::CUresult cuMemGetAllocationGranularity(std::size_t* bytes, const api::CUmemAllocationProp*,
                                            api::CUmemAllocationGranularity_flags) {
  *bytes = kGranularity;
  return enter("cuMemGetAllocationGranularity");
}

api::CUresult cuMemCreate(api::CUmemGenericAllocationHandle* handle, std::size_t bytes,
                          const api::CUmemAllocationProp* properties, unsigned long long flags) {
  if (auto result = enter("cuMemCreate"); result != api::CUDA_SUCCESS) {
    return result;
  }
  int device = state().device_of(properties->location.id);
  if (flags != 0 || !is_size(bytes) || device < 0 ||
      properties->type != api::CU_MEM_ALLOCATION_TYPE_PINNED ||
      properties->location.type != api::CU_MEM_LOCATION_TYPE_DEVICE ||
      properties->requestedHandleTypes == kNoHandleTypes) {
    return api::CUDA_ERROR_INVALID_VALUE;
  }
  const DeviceMemory& memory = state().devices[static_cast<std::size_t>(device)];
  std::lock_guard lock(state().mutex);
  int fd = memory.allocate(bytes);
  if (fd < 0) {
    return api::CUDA_ERROR_OUT_OF_MEMORY;
  }
  auto offset = static_cast<std::uint64_t>(lseek(fd, 0, SEEK_CUR));
  return add_allocation(handle, fd, {.offset = offset, .size_bytes = bytes});
}

api::CUresult cuMemRelease(api::CUmemGenericAllocationHandle handle) {
  if (auto result = enter("cuMemRelease"); result != api::CUDA_SUCCESS) {
    return result;
  }
  std::lock_guard lock(state().mutex);
  Allocation* allocation = find_allocation(handle);
  if (allocation == nullptr) {
    return api::CUDA_ERROR_INVALID_VALUE;
  }
  close(allocation->fd);  // mappings hold the memory on their own
  *allocation = {};
  return api::CUDA_SUCCESS;
}

api::CUresult cuMemExportToShareableHandle(void* shareable,
                                           api::CUmemGenericAllocationHandle handle,
                                           api::CUmemAllocationHandleType type,
                                           unsigned long long) {
  if (auto result = enter("cuMemExportToShareableHandle"); result != api::CUDA_SUCCESS) {
    return result;
  }
  std::lock_guard lock(state().mutex);
  Allocation* allocation = find_allocation(handle);
  if (allocation == nullptr || type != api::CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR) {
    return api::CUDA_ERROR_INVALID_VALUE;
  }
  // Without close-on-exec, so that tests see that the library sets it.
  int fd = dup(allocation->fd);
  if (fd < 0) {
    return api::CUDA_ERROR_OPERATING_SYSTEM;
  }
  *static_cast<int*>(shareable) = fd;
  return api::CUDA_SUCCESS;
}

api::CUresult cuMemImportFromShareableHandle(api::CUmemGenericAllocationHandle* handle,
                                             void* shareable, api::CUmemAllocationHandleType) {
  if (auto result = enter("cuMemImportFromShareableHandle"); result != api::CUDA_SUCCESS) {
    return result;
  }
  int fd = static_cast<int>(reinterpret_cast<std::intptr_t>(shareable));
  std::lock_guard lock(state().mutex);
  for (const DeviceMemory& memory : state().devices) {
    if (auto range = memory.range_of(fd)) {
      return add_allocation(handle, fcntl(fd, F_DUPFD_CLOEXEC, 0), *range);
    }
  }
  return api::CUDA_ERROR_UNKNOWN;
}

api::CUresult cuMemAddressReserve(api::CUdeviceptr* address, std::size_t bytes, std::size_t,
                                  api::CUdeviceptr, unsigned long long) {
  if (auto result = enter("cuMemAddressReserve"); result != api::CUDA_SUCCESS) {
    return result;
  }
  std::lock_guard lock(state().mutex);
  auto& table = state().reservations;
  auto free = std::ranges::find(table, nullptr, &Reservation::base);
  if (!is_size(bytes) || free == table.end()) {
    return api::CUDA_ERROR_INVALID_VALUE;
  }
  void* base = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) {
    return api::CUDA_ERROR_OUT_OF_MEMORY;
  }
  *free = {.base = static_cast<std::byte*>(base), .size_bytes = bytes};
  *address = reinterpret_cast<std::uintptr_t>(base);
  return api::CUDA_SUCCESS;
}

api::CUresult cuMemAddressFree(api::CUdeviceptr address, std::size_t bytes) {
  if (auto result = enter("cuMemAddressFree"); result != api::CUDA_SUCCESS) {
    return result;
  }
  std::lock_guard lock(state().mutex);
  Reservation* reservation = find_reservation(address, bytes);
  if (reservation == nullptr || reservation->mapped) {
    return api::CUDA_ERROR_INVALID_VALUE;
  }
  munmap(reservation->base, bytes);
  *reservation = {};
  return api::CUDA_SUCCESS;
}

api::CUresult cuMemMap(api::CUdeviceptr address, std::size_t bytes, std::size_t offset,
                       api::CUmemGenericAllocationHandle handle, unsigned long long) {
  if (auto result = enter("cuMemMap"); result != api::CUDA_SUCCESS) {
    return result;
  }
  std::lock_guard lock(state().mutex);
  Allocation* allocation = find_allocation(handle);
  Reservation* reservation = find_reservation(address, bytes);
  if (allocation == nullptr || reservation == nullptr || reservation->mapped || offset != 0 ||
      bytes > allocation->range.size_bytes) {
    return api::CUDA_ERROR_INVALID_VALUE;
  }
  void* mapped = mmap(reservation->base, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
                      allocation->fd, static_cast<off_t>(allocation->range.offset));
  if (mapped == MAP_FAILED) {
    return api::CUDA_ERROR_OUT_OF_MEMORY;
  }
  reservation->mapped = true;
  // Copies must not have to find memory. For writing, because pages of a ramfs that are only there
  // for reading fault once more.
  if (madvise(mapped, bytes, MADV_POPULATE_WRITE) != 0) {
    unmap(*reservation);
    return api::CUDA_ERROR_OUT_OF_MEMORY;
  }
  return api::CUDA_SUCCESS;
}

api::CUresult cuMemUnmap(api::CUdeviceptr address, std::size_t bytes) {
  if (auto result = enter("cuMemUnmap"); result != api::CUDA_SUCCESS) {
    return result;
  }
  std::lock_guard lock(state().mutex);
  Reservation* reservation = find_reservation(address, bytes);
  if (reservation == nullptr || !reservation->mapped) {
    return api::CUDA_ERROR_INVALID_VALUE;
  }
  unmap(*reservation);
  return api::CUDA_SUCCESS;
}

api::CUresult cuMemSetAccess(api::CUdeviceptr address, std::size_t bytes,
                             const api::CUmemAccessDesc* access, std::size_t count) {
  if (auto result = enter("cuMemSetAccess"); result != api::CUDA_SUCCESS) {
    return result;
  }
  std::lock_guard lock(state().mutex);
  Reservation* reservation = find_reservation(address, bytes);
  if (reservation == nullptr || !reservation->mapped || count != 1 ||
      access->flags != api::CU_MEM_ACCESS_FLAGS_PROT_READWRITE) {
    return api::CUDA_ERROR_INVALID_VALUE;
  }
  reservation->accessible = true;
  return api::CUDA_SUCCESS;
}

api::CUresult cuMemsetD8_v2(api::CUdeviceptr address, unsigned char value, std::size_t bytes) {
  if (auto result = enter_with_context("cuMemsetD8_v2"); result != api::CUDA_SUCCESS) {
    return result;
  }
  if (!state().is_accessible(address, bytes)) {
    return api::CUDA_ERROR_INVALID_VALUE;
  }
  std::memset(reinterpret_cast<void*>(address), value, bytes);
  return api::CUDA_SUCCESS;
}
