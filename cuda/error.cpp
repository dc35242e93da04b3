#include "cuda/error.hpp"

#include <fmt/format.h>

namespace vramswap::cuda {

std::string Error::message() const {
  std::string text = object.empty() ? operation : fmt::format("{}: {}", object, operation);
  if (code != api::CUDA_SUCCESS) {
    text += fmt::format(": {} ({})", name, static_cast<unsigned>(code));
  }
  if (!advice.empty()) {
    text += "; " + advice;
  }
  return text;
}

bool context_is_lost(api::CUresult code) {
  switch (code) {
    // Documented to leave the process in an inconsistent state until it is relaunched.
    case api::CUDA_ERROR_CONTAINED:
    case api::CUDA_ERROR_ILLEGAL_ADDRESS:
    case api::CUDA_ERROR_LAUNCH_TIMEOUT:
    case api::CUDA_ERROR_HARDWARE_STACK_ERROR:
    case api::CUDA_ERROR_ILLEGAL_INSTRUCTION:
    case api::CUDA_ERROR_MISALIGNED_ADDRESS:
    case api::CUDA_ERROR_INVALID_ADDRESS_SPACE:
    case api::CUDA_ERROR_INVALID_PC:
    case api::CUDA_ERROR_LAUNCH_FAILED:
    case api::CUDA_ERROR_TENSOR_MEMORY_LEAK:
    case api::CUDA_ERROR_MPS_CLIENT_TERMINATED:
    case api::CUDA_ERROR_EXTERNAL_DEVICE:
    // Documented to end the context; a process has one primary context per GPU and, after an
    // exception, cannot make a second (allocations on the reset one return CONTEXT_IS_DESTROYED).
    case api::CUDA_ERROR_ASSERT:
    case api::CUDA_ERROR_CONTEXT_IS_DESTROYED:
    // The driver ends every context that was running on the GPU when these happened.
    case api::CUDA_ERROR_ECC_UNCORRECTABLE:
    case api::CUDA_ERROR_NVLINK_UNCORRECTABLE:
    // The driver is shutting down in this process and does not start again in it.
    case api::CUDA_ERROR_DEINITIALIZED:
      return true;
    default:
      return false;
  }
}

}  // namespace vramswap::cuda
