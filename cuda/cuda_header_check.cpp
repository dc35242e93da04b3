// Compares driver_types.hpp with the toolkit's cuda.h. Only compiled where cuda.h was found; the
// object holds no code and is linked into nothing.
#include <cuda.h>

#include <cstddef>
#include <type_traits>

#include "cuda/driver_types.hpp"

namespace {

namespace ours = vramswap::cuda::api;

static_assert(CUDA_VERSION >= 11040, "cuDeviceGetUuid_v2 came with CUDA 11.4");

// Two types pass through a C call alike if both are pointers, or both integers or enumerations of
// one size. The types behind the pointers are compared below.
template <typename Ours, typename Theirs>
constexpr bool kPassedAlike = (std::is_pointer_v<Ours> && std::is_pointer_v<Theirs>) ||
                              (!std::is_pointer_v<Ours> && !std::is_pointer_v<Theirs> &&
                               sizeof(Ours) == sizeof(Theirs));

template <typename Ours, typename Theirs>
struct CalledAlike : std::false_type {};

template <typename OurResult, typename... OurArguments, typename TheirResult,
          typename... TheirArguments>
requires(sizeof...(OurArguments) ==
         sizeof...(TheirArguments)) struct CalledAlike<OurResult (*)(OurArguments...),
                                                       TheirResult (*)(TheirArguments...)>
    : std::bool_constant<kPassedAlike<OurResult, TheirResult> &&
                         (kPassedAlike<OurArguments, TheirArguments> && ...)> {
};

#define CHECK_FUNCTION(name) \
  static_assert(CalledAlike<decltype(ours::FunctionTable::name), decltype(&::name)>::value);
VRAMSWAP_CUDA_FUNCTIONS(CHECK_FUNCTION)

static_assert(CUDA_VERSION < 11070 ||
              CalledAlike<decltype(ours::NewerFunctionTable::cuStreamWriteValue32_v2),
                          decltype(&::cuStreamWriteValue32)>::value);
#if CUDA_VERSION >= 12080 && CUDA_VERSION < 13000
static_assert(CalledAlike<decltype(ours::NewerFunctionTable::cuMemcpyBatchAsync),
                          decltype(&::cuMemcpyBatchAsync)>::value);
#endif

#define CHECK_TYPE(type)                               \
  static_assert(sizeof(ours::type) == sizeof(::type)); \
  static_assert(alignof(ours::type) == alignof(::type));
CHECK_TYPE(CUresult)
CHECK_TYPE(CUdevice_attribute)
CHECK_TYPE(CUdevice)
CHECK_TYPE(CUdeviceptr)
CHECK_TYPE(CUmemGenericAllocationHandle)
CHECK_TYPE(CUcontext)
CHECK_TYPE(CUstream)
CHECK_TYPE(CUmodule)
CHECK_TYPE(CUfunction)
CHECK_TYPE(CUjit_option)
CHECK_TYPE(CUjitInputType)
CHECK_TYPE(CUlinkState)
CHECK_TYPE(CUcomputemode)
CHECK_TYPE(CUuuid)
CHECK_TYPE(CUmemLocation)
CHECK_TYPE(CUmemAccessDesc)
CHECK_TYPE(CUmemAllocationProp)

#define CHECK_MEMBER(type, member)                                         \
  static_assert(offsetof(ours::type, member) == offsetof(::type, member)); \
  static_assert(sizeof(ours::type::member) == sizeof(::type::member));
CHECK_MEMBER(CUmemLocation, type)
CHECK_MEMBER(CUmemLocation, id)
CHECK_MEMBER(CUmemAccessDesc, location)
CHECK_MEMBER(CUmemAccessDesc, flags)
CHECK_MEMBER(CUmemAllocationProp, type)
CHECK_MEMBER(CUmemAllocationProp, requestedHandleTypes)
CHECK_MEMBER(CUmemAllocationProp, location)
CHECK_MEMBER(CUmemAllocationProp, win32HandleMetaData)
CHECK_MEMBER(CUmemAllocationProp, allocFlags)
CHECK_MEMBER(CUmemAllocationProp, allocFlags.compressionType)
CHECK_MEMBER(CUmemAllocationProp, allocFlags.gpuDirectRDMACapable)
CHECK_MEMBER(CUmemAllocationProp, allocFlags.usage)

#if CUDA_VERSION >= 12080
CHECK_TYPE(CUmemcpyAttributes)
CHECK_MEMBER(CUmemcpyAttributes, srcAccessOrder)
CHECK_MEMBER(CUmemcpyAttributes, srcLocHint)
CHECK_MEMBER(CUmemcpyAttributes, dstLocHint)
CHECK_MEMBER(CUmemcpyAttributes, flags)
static_assert(static_cast<unsigned>(ours::CU_MEMCPY_SRC_ACCESS_ORDER_STREAM) ==
              static_cast<unsigned>(::CU_MEMCPY_SRC_ACCESS_ORDER_STREAM));
#endif

#define CHECK_VALUE(name) \
  static_assert(static_cast<unsigned>(ours::name) == static_cast<unsigned>(::name));
CHECK_VALUE(CUDA_SUCCESS)
CHECK_VALUE(CUDA_ERROR_INVALID_VALUE)
CHECK_VALUE(CUDA_ERROR_OUT_OF_MEMORY)
CHECK_VALUE(CUDA_ERROR_NOT_INITIALIZED)
CHECK_VALUE(CUDA_ERROR_DEINITIALIZED)
CHECK_VALUE(CUDA_ERROR_STUB_LIBRARY)
CHECK_VALUE(CUDA_ERROR_DEVICE_UNAVAILABLE)
CHECK_VALUE(CUDA_ERROR_NO_DEVICE)
CHECK_VALUE(CUDA_ERROR_INVALID_DEVICE)
CHECK_VALUE(CUDA_ERROR_INVALID_CONTEXT)
CHECK_VALUE(CUDA_ERROR_ECC_UNCORRECTABLE)
CHECK_VALUE(CUDA_ERROR_NVLINK_UNCORRECTABLE)
CHECK_VALUE(CUDA_ERROR_OPERATING_SYSTEM)
CHECK_VALUE(CUDA_ERROR_INVALID_HANDLE)
CHECK_VALUE(CUDA_ERROR_NOT_READY)
CHECK_VALUE(CUDA_ERROR_ILLEGAL_ADDRESS)
CHECK_VALUE(CUDA_ERROR_LAUNCH_TIMEOUT)
CHECK_VALUE(CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE)
CHECK_VALUE(CUDA_ERROR_CONTEXT_IS_DESTROYED)
CHECK_VALUE(CUDA_ERROR_ASSERT)
CHECK_VALUE(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED)
CHECK_VALUE(CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED)
CHECK_VALUE(CUDA_ERROR_HARDWARE_STACK_ERROR)
CHECK_VALUE(CUDA_ERROR_ILLEGAL_INSTRUCTION)
CHECK_VALUE(CUDA_ERROR_MISALIGNED_ADDRESS)
CHECK_VALUE(CUDA_ERROR_INVALID_ADDRESS_SPACE)
CHECK_VALUE(CUDA_ERROR_INVALID_PC)
CHECK_VALUE(CUDA_ERROR_LAUNCH_FAILED)
CHECK_VALUE(CUDA_ERROR_NOT_PERMITTED)
CHECK_VALUE(CUDA_ERROR_NOT_SUPPORTED)
CHECK_VALUE(CUDA_ERROR_SYSTEM_NOT_READY)
CHECK_VALUE(CUDA_ERROR_SYSTEM_DRIVER_MISMATCH)
CHECK_VALUE(CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE)
CHECK_VALUE(CUDA_ERROR_UNKNOWN)
// Codes that came with later toolkits.
#if CUDA_VERSION >= 12000
CHECK_VALUE(CUDA_ERROR_MPS_CLIENT_TERMINATED)
CHECK_VALUE(CUDA_ERROR_EXTERNAL_DEVICE)
#endif
#if CUDA_VERSION >= 13000
CHECK_VALUE(CUDA_ERROR_CONTAINED)
CHECK_VALUE(CUDA_ERROR_TENSOR_MEMORY_LEAK)
#endif
CHECK_VALUE(CU_DEVICE_ATTRIBUTE_KERNEL_EXEC_TIMEOUT)
CHECK_VALUE(CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED)
CHECK_VALUE(CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED)
CHECK_VALUE(CU_MEM_ALLOCATION_TYPE_PINNED)
CHECK_VALUE(CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR)
CHECK_VALUE(CU_MEM_LOCATION_TYPE_DEVICE)
CHECK_VALUE(CU_MEM_ACCESS_FLAGS_PROT_READWRITE)
CHECK_VALUE(CU_MEM_ALLOC_GRANULARITY_MINIMUM)
static_assert(ours::kContextScheduleBlockingSync == CU_CTX_SCHED_BLOCKING_SYNC);
static_assert(ours::kStreamNonBlocking == CU_STREAM_NON_BLOCKING);
static_assert(ours::kHostRegisterPortable == CU_MEMHOSTREGISTER_PORTABLE);
static_assert(ours::kHostRegisterDeviceMap == CU_MEMHOSTREGISTER_DEVICEMAP);

}  // namespace
