// The part of the CUDA driver API (libcuda.so.1) that vramswap calls. It is declared by hand, so
// that vramswap builds without a CUDA toolkit. Names and values are those of NVIDIA's ABI. A member
// of FunctionTable has exactly the name that the library exports (including `_v2`), so each can be
// looked up in the CUDA Driver API reference. cuda_header_check.cpp compares everything with
// cuda.h.
#pragma once

#include <cstddef>

namespace vramswap::cuda::api {

// NOLINTBEGIN(readability-identifier-naming): the names are NVIDIA's.

/// The result of every call. Only the codes that vramswap names are listed. The driver may return
/// others; they are valid values of this type too.
enum CUresult : unsigned int {
  CUDA_SUCCESS = 0,
  CUDA_ERROR_INVALID_VALUE = 1,
  CUDA_ERROR_OUT_OF_MEMORY = 2,
  CUDA_ERROR_NOT_INITIALIZED = 3,
  CUDA_ERROR_DEINITIALIZED = 4,
  CUDA_ERROR_STUB_LIBRARY = 34,
  CUDA_ERROR_DEVICE_UNAVAILABLE = 46,
  CUDA_ERROR_NO_DEVICE = 100,
  CUDA_ERROR_INVALID_DEVICE = 101,
  CUDA_ERROR_INVALID_CONTEXT = 201,
  CUDA_ERROR_ECC_UNCORRECTABLE = 214,
  CUDA_ERROR_NVLINK_UNCORRECTABLE = 220,
  CUDA_ERROR_JIT_COMPILER_NOT_FOUND = 221,
  CUDA_ERROR_CONTAINED = 226,
  CUDA_ERROR_OPERATING_SYSTEM = 304,
  CUDA_ERROR_INVALID_HANDLE = 400,
  CUDA_ERROR_NOT_READY = 600,
  CUDA_ERROR_ILLEGAL_ADDRESS = 700,
  CUDA_ERROR_LAUNCH_TIMEOUT = 702,
  CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE = 708,
  CUDA_ERROR_CONTEXT_IS_DESTROYED = 709,
  CUDA_ERROR_ASSERT = 710,
  CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED = 712,
  CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED = 713,
  CUDA_ERROR_HARDWARE_STACK_ERROR = 714,
  CUDA_ERROR_ILLEGAL_INSTRUCTION = 715,
  CUDA_ERROR_MISALIGNED_ADDRESS = 716,
  CUDA_ERROR_INVALID_ADDRESS_SPACE = 717,
  CUDA_ERROR_INVALID_PC = 718,
  CUDA_ERROR_LAUNCH_FAILED = 719,
  CUDA_ERROR_TENSOR_MEMORY_LEAK = 721,
  CUDA_ERROR_NOT_PERMITTED = 800,
  CUDA_ERROR_NOT_SUPPORTED = 801,
  CUDA_ERROR_SYSTEM_NOT_READY = 802,
  CUDA_ERROR_SYSTEM_DRIVER_MISMATCH = 803,
  CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE = 804,
  CUDA_ERROR_MPS_CLIENT_TERMINATED = 810,
  CUDA_ERROR_EXTERNAL_DEVICE = 911,
  CUDA_ERROR_UNKNOWN = 999,
};

enum CUdevice_attribute : unsigned int {
  CU_DEVICE_ATTRIBUTE_KERNEL_EXEC_TIMEOUT = 17,
  CU_DEVICE_ATTRIBUTE_COMPUTE_MODE = 20,
  CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED = 102,
  CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED = 103,
};

/// Values of CU_DEVICE_ATTRIBUTE_COMPUTE_MODE. Another mode for one thread, 1, is no longer set.
enum CUcomputemode : unsigned int {
  CU_COMPUTEMODE_DEFAULT = 0,
  CU_COMPUTEMODE_PROHIBITED = 2,
  CU_COMPUTEMODE_EXCLUSIVE_PROCESS = 3,
};

enum CUmemAllocationType : unsigned int { CU_MEM_ALLOCATION_TYPE_PINNED = 1 };
enum CUmemAllocationHandleType : unsigned int { CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR = 1 };
enum CUmemLocationType : unsigned int { CU_MEM_LOCATION_TYPE_DEVICE = 1 };
enum CUmemAccess_flags : unsigned int { CU_MEM_ACCESS_FLAGS_PROT_READWRITE = 3 };
enum CUmemAllocationGranularity_flags : unsigned int { CU_MEM_ALLOC_GRANULARITY_MINIMUM = 0 };

using CUdevice = int;
using CUdeviceptr = unsigned long long;
using CUmemGenericAllocationHandle = unsigned long long;
using CUcontext = struct CUctx_st*;
using CUstream = struct CUstream_st*;
using CUmodule = struct CUmod_st*;
using CUfunction = struct CUfunc_st*;

using CUlinkState = struct CUlinkState_st*;

/// An option of cuModuleLoadDataEx and of linking. vramswap passes none.
enum CUjit_option : unsigned int {};
enum CUjitInputType : unsigned int { CU_JIT_INPUT_PTX = 1 };

enum CUmemcpySrcAccessOrder : unsigned int { CU_MEMCPY_SRC_ACCESS_ORDER_STREAM = 1 };

struct CUuuid {
  char bytes[16];
};

struct CUmemLocation {
  CUmemLocationType type;
  int id;  // for a device location: the CUdevice
};

struct CUmemAccessDesc {
  CUmemLocation location;
  CUmemAccess_flags flags;
};

struct CUmemAllocationProp {
  CUmemAllocationType type;
  CUmemAllocationHandleType requestedHandleTypes;
  CUmemLocation location;
  void* win32HandleMetaData;
  struct {
    unsigned char compressionType;
    unsigned char gpuDirectRDMACapable;
    unsigned short usage;
    unsigned char reserved[4];
  } allocFlags;
};

/// How cuMemcpyBatchAsync may read its sources. The hints concern managed memory only.
struct CUmemcpyAttributes {
  CUmemcpySrcAccessOrder srcAccessOrder;
  CUmemLocation srcLocHint;
  CUmemLocation dstLocHint;
  unsigned int flags;
};

/// Addresses of the entry points. The newest, cuDeviceGetUuid_v2, appeared in CUDA 11.4.
struct FunctionTable {
  CUresult (*cuGetErrorName)(CUresult, const char** name);
  CUresult (*cuInit)(unsigned int flags);

  CUresult (*cuDeviceGetCount)(int* count);
  CUresult (*cuDeviceGet)(CUdevice*, int ordinal);
  CUresult (*cuDeviceGetName)(char* name, int size, CUdevice);
  CUresult (*cuDeviceGetUuid_v2)(CUuuid*, CUdevice);
  CUresult (*cuDeviceGetPCIBusId)(char* address, int size, CUdevice);
  CUresult (*cuDeviceTotalMem_v2)(std::size_t* bytes, CUdevice);
  CUresult (*cuDeviceGetAttribute)(int* value, CUdevice_attribute, CUdevice);

  CUresult (*cuDevicePrimaryCtxSetFlags_v2)(CUdevice, unsigned int flags);
  CUresult (*cuDevicePrimaryCtxRetain)(CUcontext*, CUdevice);
  CUresult (*cuDevicePrimaryCtxRelease_v2)(CUdevice);
  CUresult (*cuCtxSetCurrent)(CUcontext);
  CUresult (*cuMemGetInfo_v2)(std::size_t* free_bytes, std::size_t* total_bytes);

  CUresult (*cuMemGetAllocationGranularity)(std::size_t* bytes, const CUmemAllocationProp*,
                                            CUmemAllocationGranularity_flags);
  CUresult (*cuMemCreate)(CUmemGenericAllocationHandle*, std::size_t bytes,
                          const CUmemAllocationProp*, unsigned long long flags);
  CUresult (*cuMemRelease)(CUmemGenericAllocationHandle);
  CUresult (*cuMemExportToShareableHandle)(void* shareable, CUmemGenericAllocationHandle,
                                           CUmemAllocationHandleType, unsigned long long flags);
  CUresult (*cuMemImportFromShareableHandle)(CUmemGenericAllocationHandle*, void* shareable,
                                             CUmemAllocationHandleType);
  CUresult (*cuMemAddressReserve)(CUdeviceptr*, std::size_t bytes, std::size_t alignment,
                                  CUdeviceptr wanted, unsigned long long flags);
  CUresult (*cuMemAddressFree)(CUdeviceptr, std::size_t bytes);
  CUresult (*cuMemMap)(CUdeviceptr, std::size_t bytes, std::size_t offset,
                       CUmemGenericAllocationHandle, unsigned long long flags);
  CUresult (*cuMemUnmap)(CUdeviceptr, std::size_t bytes);
  CUresult (*cuMemSetAccess)(CUdeviceptr, std::size_t bytes, const CUmemAccessDesc*,
                             std::size_t count);
  CUresult (*cuMemsetD8_v2)(CUdeviceptr, unsigned char value, std::size_t bytes);

  CUresult (*cuMemHostRegister_v2)(void* memory, std::size_t bytes, unsigned int flags);
  CUresult (*cuMemHostUnregister)(void* memory);
  CUresult (*cuMemHostGetDevicePointer_v2)(CUdeviceptr*, void* memory, unsigned int flags);
  CUresult (*cuStreamCreate)(CUstream*, unsigned int flags);
  CUresult (*cuStreamDestroy_v2)(CUstream);
  CUresult (*cuStreamQuery)(CUstream);
  CUresult (*cuMemcpyHtoDAsync_v2)(CUdeviceptr, const void* source, std::size_t bytes, CUstream);
  CUresult (*cuMemcpyDtoHAsync_v2)(void* target, CUdeviceptr, std::size_t bytes, CUstream);

  CUresult (*cuLinkCreate_v2)(unsigned int option_count, CUjit_option*, void** option_values,
                              CUlinkState*);
  CUresult (*cuLinkAddData_v2)(CUlinkState, CUjitInputType, void* data, std::size_t bytes,
                               const char* name, unsigned int option_count, CUjit_option*,
                               void** option_values);
  CUresult (*cuLinkComplete)(CUlinkState, void** image, std::size_t* bytes);
  CUresult (*cuLinkDestroy)(CUlinkState);
  CUresult (*cuModuleLoadDataEx)(CUmodule*, const void* image, unsigned int option_count,
                                 CUjit_option*, void** option_values);
  CUresult (*cuModuleUnload)(CUmodule);
  CUresult (*cuModuleGetFunction)(CUfunction*, CUmodule, const char* name);
  CUresult (*cuLaunchKernel)(CUfunction, unsigned int grid_x, unsigned int grid_y,
                             unsigned int grid_z, unsigned int block_x, unsigned int block_y,
                             unsigned int block_z, unsigned int shared_bytes, CUstream,
                             void** parameters, void** extra);
};

/// Addresses of newer entry points. Each is null if the driver is too old to have it.
struct NewerFunctionTable {
  /// CUDA 11.7.
  CUresult (*cuStreamWriteValue32_v2)(CUstream, CUdeviceptr, unsigned int value,
                                      unsigned int flags);
  /// CUDA 12.8, as declared there. In the headers of CUDA 13 the name means another function.
  CUresult (*cuMemcpyBatchAsync)(CUdeviceptr* targets, CUdeviceptr* sources, std::size_t* bytes,
                                 std::size_t count, CUmemcpyAttributes*,
                                 std::size_t* attribute_indices, std::size_t attribute_count,
                                 std::size_t* failed_index, CUstream);
};

// NOLINTEND(readability-identifier-naming)

// Flags that the API takes as plain unsigned integers. They do not have NVIDIA's names, because
// some of those are macros in cuda.h.
inline constexpr unsigned int kContextScheduleBlockingSync = 0x04;
inline constexpr unsigned int kStreamNonBlocking = 0x01;
inline constexpr unsigned int kHostRegisterPortable = 0x01;
inline constexpr unsigned int kHostRegisterDeviceMap = 0x02;

}  // namespace vramswap::cuda::api

/// Calls X(name) for every member of NewerFunctionTable, in declaration order.
#define VRAMSWAP_CUDA_NEWER_FUNCTIONS(X) \
  X(cuStreamWriteValue32_v2)             \
  X(cuMemcpyBatchAsync)

/// Calls X(name) for every member of FunctionTable, in declaration order.
#define VRAMSWAP_CUDA_FUNCTIONS(X)  \
  X(cuGetErrorName)                 \
  X(cuInit)                         \
  X(cuDeviceGetCount)               \
  X(cuDeviceGet)                    \
  X(cuDeviceGetName)                \
  X(cuDeviceGetUuid_v2)             \
  X(cuDeviceGetPCIBusId)            \
  X(cuDeviceTotalMem_v2)            \
  X(cuDeviceGetAttribute)           \
  X(cuDevicePrimaryCtxSetFlags_v2)  \
  X(cuDevicePrimaryCtxRetain)       \
  X(cuDevicePrimaryCtxRelease_v2)   \
  X(cuCtxSetCurrent)                \
  X(cuMemGetInfo_v2)                \
  X(cuMemGetAllocationGranularity)  \
  X(cuMemCreate)                    \
  X(cuMemRelease)                   \
  X(cuMemExportToShareableHandle)   \
  X(cuMemImportFromShareableHandle) \
  X(cuMemAddressReserve)            \
  X(cuMemAddressFree)               \
  X(cuMemMap)                       \
  X(cuMemUnmap)                     \
  X(cuMemSetAccess)                 \
  X(cuMemsetD8_v2)                  \
  X(cuMemHostRegister_v2)           \
  X(cuMemHostUnregister)            \
  X(cuMemHostGetDevicePointer_v2)   \
  X(cuStreamCreate)                 \
  X(cuStreamDestroy_v2)             \
  X(cuStreamQuery)                  \
  X(cuMemcpyHtoDAsync_v2)           \
  X(cuMemcpyDtoHAsync_v2)           \
  X(cuLinkCreate_v2)                \
  X(cuLinkAddData_v2)               \
  X(cuLinkComplete)                 \
  X(cuLinkDestroy)                  \
  X(cuModuleLoadDataEx)             \
  X(cuModuleUnload)                 \
  X(cuModuleGetFunction)            \
  X(cuLaunchKernel)
