// The error that a failed call of the CUDA driver becomes.
#pragma once

#include <expected>
#include <string>
#include <utility>

#include "cuda/driver_types.hpp"

namespace vramswap::cuda {

struct Error {
  std::string operation;  ///< the failed operation: "cuMemCreate 1073741824 bytes"
  std::string object;     ///< what it concerned: "GPU 0000:01:00.0", "libcuda.so.1"; may be empty
  /// The result of the driver; CUDA_SUCCESS if the failure did not come from the driver.
  api::CUresult code = api::CUDA_SUCCESS;
  std::string name;    ///< the driver's name of `code`; empty if it did not come from the driver
  std::string advice;  ///< what the user can do; empty if there is no general advice

  /// One line without a newline:
  /// `GPU 0000:01:00.0: cuMemCreate 1073741824 bytes: CUDA_ERROR_OUT_OF_MEMORY (2)`, then
  /// `; ` and the advice if there is any.
  std::string message() const;
};

/// A value or an error. The compiler warns if a caller ignores one.
template <class T>
class [[nodiscard]] Result : public std::expected<T, Error> {
  using Base = std::expected<T, Error>;

 public:
  using Base::Base;
  Result() = default;
  Result(Error error) : Base(std::unexpect, std::move(error)) {}
};

/// Whether `code` means that this process can never use its CUDA context again. Only a new process
/// helps: resetting and retaining the primary context reports the same error. VRAM that a file
/// descriptor holds survives all of these errors, but after CUDA_ERROR_ECC_UNCORRECTABLE some of it
/// is damaged.
///
/// False does not mean that a failed operation may be retried. In particular, CUDA_ERROR_UNKNOWN
/// gives false, because the context survives some of its causes (importing a descriptor that is not
/// VRAM). For that code, the caller must decide by the operation that failed.
bool context_is_lost(api::CUresult code);

}  // namespace vramswap::cuda
