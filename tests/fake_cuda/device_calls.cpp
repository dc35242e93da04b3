// Initialisation, devices and contexts.
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <mutex>

#include "tests/fake_cuda/state.hpp"

namespace api = vramswap::cuda::api;
using fake_cuda::enter;
using fake_cuda::enter_with_context;
using fake_cuda::state;

namespace {

/// A file that a test has put into the folder of the state.
bool has_file(const char* name) {
  return access((state().configuration.directory + "/" + name).c_str(), F_OK) == 0;
}

}  // namespace

api::CUresult cuGetErrorName(api::CUresult code, const char** name) {
  switch (code) {
#define CASE(value) \
  case api::value:  \
    *name = #value; \
    return api::CUDA_SUCCESS;
    CASE(CUDA_SUCCESS)
    CASE(CUDA_ERROR_INVALID_VALUE)
    CASE(CUDA_ERROR_OUT_OF_MEMORY)
    CASE(CUDA_ERROR_NOT_INITIALIZED)
    CASE(CUDA_ERROR_DEVICE_UNAVAILABLE)
    CASE(CUDA_ERROR_NO_DEVICE)
    CASE(CUDA_ERROR_INVALID_DEVICE)
    CASE(CUDA_ERROR_INVALID_CONTEXT)
    CASE(CUDA_ERROR_INVALID_HANDLE)
    CASE(CUDA_ERROR_JIT_COMPILER_NOT_FOUND)
    CASE(CUDA_ERROR_ILLEGAL_ADDRESS)
    CASE(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED)
    CASE(CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED)
    CASE(CUDA_ERROR_LAUNCH_FAILED)
    CASE(CUDA_ERROR_SYSTEM_DRIVER_MISMATCH)
    CASE(CUDA_ERROR_UNKNOWN)
#undef CASE
    default:
      *name = nullptr;  // as the real one does
      return api::CUDA_ERROR_INVALID_VALUE;
  }
}

api::CUresult cuInit(unsigned int flags) {
  if (flags != 0) {
    return api::CUDA_ERROR_INVALID_VALUE;
  }
  fake_cuda::initialise();
  while (has_file("hang")) {
    usleep(10'000);
  }
  if (state().configuration.devices == 0 || has_file("away")) {
    state().initialised = false;
    return api::CUDA_ERROR_NO_DEVICE;
  }
  return enter("cuInit");
}

api::CUresult cuDeviceGetCount(int* count) {
  *count = static_cast<int>(state().devices.size());
  return enter("cuDeviceGetCount");
}

api::CUresult cuDeviceGet(api::CUdevice* device, int ordinal) {
  if (state().device_of(ordinal) < 0) {
    return api::CUDA_ERROR_INVALID_DEVICE;
  }
  *device = ordinal;
  return enter("cuDeviceGet");
}

api::CUresult cuDeviceGetName(char* name, int size, api::CUdevice device) {
  std::snprintf(name, static_cast<std::size_t>(size), "Fake GPU %d", state().device_of(device));
  return enter("cuDeviceGetName");
}

api::CUresult cuDeviceGetUuid_v2(api::CUuuid* uuid, api::CUdevice device) {
  const unsigned char bytes[16] = {0xfa, 0x4e, 0xca, 0xda, 0, 0, 0x40, 0, 0x80};
  std::memcpy(uuid->bytes, bytes, sizeof(bytes));
  uuid->bytes[15] = static_cast<char>(state().device_of(device));
  return enter("cuDeviceGetUuid_v2");
}

api::CUresult cuDeviceGetPCIBusId(char* address, int size, api::CUdevice device) {
  std::snprintf(address, static_cast<std::size_t>(size), "0000:%02X:00.0",
                0x0a + state().device_of(device));
  return enter("cuDeviceGetPCIBusId");
}

api::CUresult cuDeviceTotalMem_v2(std::size_t* bytes, api::CUdevice) {
  *bytes = state().configuration.memory_bytes;
  return enter("cuDeviceTotalMem_v2");
}

api::CUresult cuDeviceGetAttribute(int* value, api::CUdevice_attribute attribute,
                                   api::CUdevice device) {
  switch (attribute) {
    case api::CU_DEVICE_ATTRIBUTE_KERNEL_EXEC_TIMEOUT:
      *value = device == state().configuration.display_device ? 1 : 0;
      break;
    case api::CU_DEVICE_ATTRIBUTE_COMPUTE_MODE:
      *value = state().configuration.compute_mode;
      break;
    case api::CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED:
    case api::CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED:
      *value = 1;
      break;
    default:
      return api::CUDA_ERROR_INVALID_VALUE;
  }
  return enter("cuDeviceGetAttribute");
}

api::CUresult cuDevicePrimaryCtxSetFlags_v2(api::CUdevice, unsigned int) {
  return enter("cuDevicePrimaryCtxSetFlags_v2");
}

api::CUresult cuDevicePrimaryCtxRetain(api::CUcontext* context, api::CUdevice ordinal) {
  if (auto result = enter("cuDevicePrimaryCtxRetain"); result != api::CUDA_SUCCESS) {
    return result;
  }
  int device = state().device_of(ordinal);
  if (device < 0) {
    return api::CUDA_ERROR_INVALID_DEVICE;
  }
  std::lock_guard lock(state().mutex);
  const auto index = static_cast<std::size_t>(device);
  int& references = state().context_references[index];
  const std::uint64_t bytes = state().configuration.context_bytes;
  if (references == 0 && bytes > 0) {
    const int memory = state().devices[index].allocate_last(bytes);
    if (memory < 0) {
      return api::CUDA_ERROR_OUT_OF_MEMORY;
    }
    state().context_memory[index] = memory;
  }
  ++references;
  *context = reinterpret_cast<api::CUcontext>(&references);
  return api::CUDA_SUCCESS;
}

api::CUresult cuDevicePrimaryCtxRelease_v2(api::CUdevice ordinal) {
  if (auto result = enter("cuDevicePrimaryCtxRelease_v2"); result != api::CUDA_SUCCESS) {
    return result;
  }
  int device = state().device_of(ordinal);
  std::lock_guard lock(state().mutex);
  if (device < 0 || state().context_references[static_cast<std::size_t>(device)] == 0) {
    return api::CUDA_ERROR_INVALID_CONTEXT;
  }
  if (--state().context_references[static_cast<std::size_t>(device)] > 0) {
    return api::CUDA_SUCCESS;
  }
  if (state().configuration.context_bytes > 0) {
    close(state().context_memory[static_cast<std::size_t>(device)]);
  }
  if (fake_cuda::current_device() == device) {
    fake_cuda::set_current_device(-1);
  }
  return api::CUDA_SUCCESS;
}

api::CUresult cuCtxSetCurrent(api::CUcontext context) {
  if (auto result = enter("cuCtxSetCurrent"); result != api::CUDA_SUCCESS) {
    return result;
  }
  std::lock_guard lock(state().mutex);
  auto& references = state().context_references;
  for (std::size_t device = 0; device < references.size(); ++device) {
    if (reinterpret_cast<api::CUcontext>(&references[device]) == context &&
        references[device] > 0) {
      fake_cuda::set_current_device(static_cast<int>(device));
      return api::CUDA_SUCCESS;
    }
  }
  return api::CUDA_ERROR_INVALID_CONTEXT;
}

api::CUresult cuMemGetInfo_v2(std::size_t* free_bytes, std::size_t* total_bytes) {
  if (auto result = enter_with_context("cuMemGetInfo_v2"); result != api::CUDA_SUCCESS) {
    return result;
  }
  const auto& memory = state().devices[static_cast<std::size_t>(fake_cuda::current_device())];
  *free_bytes = memory.free_bytes();
  *total_bytes = memory.total_bytes();
  return api::CUDA_SUCCESS;
}
