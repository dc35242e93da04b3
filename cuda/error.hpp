// What a failed call of the CUDA driver looks like to the rest of the program.
#pragma once

#include <expected>
#include <string>
#include <utility>

#include "cuda/driver_types.hpp"

namespace vramswap::cuda {

struct Error {
  std::string operation;  ///< what was tried: "cuMemCreate 1073741824 bytes"
  std::string object;     ///< on what: "GPU 0000:01:00.0", "libcuda.so.1"; may be empty
  /// The driver's answer; CUDA_SUCCESS if the failure did not come from the driver.
  api::CUresult code = api::CUDA_SUCCESS;
  std::string name;    ///< the driver's name of `code`; empty if it did not come from the driver
  std::string advice;  ///< what to do about it; empty where nothing general can be said

  /// One line without a newline:
  /// `GPU 0000:01:00.0: cuMemCreate 1073741824 bytes: CUDA_ERROR_OUT_OF_MEMORY (2)`, then
  /// `; ` and the advice if there is any.
  std::string message() const;
};

/// A value, or the error that stands in its place. The compiler warns of one that nobody looks at.
template <class T>
class [[nodiscard]] Result : public std::expected<T, Error> {
  using Base = std::expected<T, Error>;

 public:
  using Base::Base;
  Result() = default;
  Result(Error error) : Base(std::unexpect, std::move(error)) {}
};

/// Whether `code` means that this process can never use its CUDA context again. Only a new process
/// helps: resetting and retaining the primary context reports the same error. VRAM held by a file
/// descriptor outlives all of this, except that CUDA_ERROR_ECC_UNCORRECTABLE says that some of it
/// is damaged.
///
/// False does not mean that a failed operation may be retried. CUDA_ERROR_UNKNOWN in particular is
/// false, since the context survives some causes (importing a descriptor that is not VRAM): there
/// the operation decides.
bool context_is_lost(api::CUresult code);

}  // namespace vramswap::cuda
