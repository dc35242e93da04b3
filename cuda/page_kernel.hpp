// Copies scattered pages with one kernel launch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "cuda/context.hpp"
#include "cuda/driver.hpp"
#include "cuda/error.hpp"
#include "cuda/stream.hpp"

namespace vramswap::cuda {

/// A GPU kernel that copies one page per thread block. It runs on every GPU since Maxwell (2014).
/// The driver compiles it when it is loaded (on an H200 93 ms the first time, 0.1 ms from the
/// driver's cache; see CUDA_CACHE_PATH).
///
/// Each block reports by itself that its page is done, in a word of registered host memory. So no
/// thread has to ask the driver, whose lock all threads of a process share. Times on an H200, in
/// us, to copy N scattered pages out of VRAM, compared with one cuMemcpyAsync per page and one
/// synchronize:
///   N       1     2     4     8    16    32   128
///   kernel  7.3   7.4   7.5   7.7   9.2  11.1  20.0
///   copies  6.9   8.8  13.5  21.6  38.8  72.1
/// The list of pages is passed as kernel parameters: a list in host memory cost 2.3 us more. A
/// single counter for all blocks (an atomic, a fence, one word) cost 1.2 us more.
class PageKernel {
 public:
  static constexpr std::size_t kPageBytes = 4096;
  /// Maximum pages in one launch: as many as fit into the 4 KiB of parameters that every driver
  /// accepts.
  static constexpr std::size_t kMaxPages = 480;

  /// Alignment of host addresses for copy_from_host, in bytes.
  static constexpr std::size_t kHostAlignment = 4;

  struct Page {
    std::int32_t device_page;   ///< relative to Batch::device, in pages
    std::uint32_t host_offset;  ///< relative to Batch::host, in bytes; aligned as copy_* demand
  };
  /// `pages` has room for kMaxPages, because the driver reads all of the parameters.
  struct Batch {
    api::CUdeviceptr device;
    api::CUdeviceptr host;  ///< registered host memory, as the device addresses it
    api::CUdeviceptr
        flags;  ///< in such memory: a word per page, set to `tag` when the page is done
    std::uint32_t tag;
    std::span<Page, kMaxPages> pages;
    std::size_t count;  ///< of entries in `pages`: 1 to kMaxPages
  };

  /// The kernel compiled for the device of this context. The driver compiles with another library,
  /// libnvidia-ptxjitcompiler, which an upgrade may replace; compiled code does not need it.
  static Result<std::string> compile(const Context&);
  /// Loads the result of compile(), which may come from another process; without it the driver
  /// compiles now. If the driver cannot, the error holds its reason.
  static Result<PageKernel> load(const Context&, const std::string& compiled = {});

  PageKernel(PageKernel&&) noexcept;
  PageKernel& operator=(PageKernel&&) noexcept;
  ~PageKernel();

  /// Both functions only queue the copy, like those of Stream. Here host addresses must be
  /// multiples of 16 bytes.
  Result<void> copy_to_host(Stream& stream, Batch& batch) const;
  /// Host addresses must be multiples of kHostAlignment.
  Result<void> copy_from_host(Stream& stream, Batch& batch) const;

 private:
  /// The kernel exists in three sizes, because a launch with fewer parameters is cheaper.
  static constexpr std::size_t kSizes[] = {16, 64, kMaxPages};
  struct Functions {
    api::CUfunction to_host[std::size(kSizes)] = {};
    api::CUfunction from_host[std::size(kSizes)] = {};
  };

  PageKernel(const Driver& driver, std::string label, api::CUmodule module)
      : driver_(driver), label_(std::move(label)), module_(module) {}

  static std::string source();
  Result<void> launch(const api::CUfunction (&functions)[std::size(kSizes)], Stream& stream,
                      Batch& batch) const;

  Driver driver_;
  std::string label_;
  api::CUmodule module_;  // null once moved from
  Functions functions_;
};

}  // namespace vramswap::cuda
