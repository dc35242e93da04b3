// Copies of scattered pages by one kernel launch.
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

/// A kernel of our own, a block a page, for any GPU since Maxwell (2014): the driver compiles it
/// when it is loaded (93 ms on an H200 the first time, 0.1 ms from its cache, see CUDA_CACHE_PATH).
///
/// Each block says by itself that its page is done, in a word of registered host memory, so that
/// nobody has to ask the driver, whose lock all threads of a process share. Measured on an H200, us
/// for N scattered pages out of VRAM, against a cuMemcpyAsync each and one synchronize:
///   N       1     2     4     8    16    32   128
///   kernel  7.3   7.4   7.5   7.7   9.2  11.1  20.0
///   copies  6.9   8.8  13.5  21.6  38.8  72.1
/// The pages go along as kernel parameters: a list in host memory cost 2.3 us more, one counter
/// for all blocks (an atomic, a fence, one word) 1.2 us.
class PageKernel {
 public:
  static constexpr std::size_t page_bytes = 4096;
  /// In one launch: what fits into the 4 KiB of parameters that every driver takes.
  static constexpr std::size_t max_pages = 480;

  /// Of host addresses, in bytes, for copy_from_host.
  static constexpr std::size_t host_alignment = 4;

  struct Page {
    std::int32_t device_page;   ///< from Batch::device, in pages
    std::uint32_t host_offset;  ///< from Batch::host, in bytes; see the two functions below
  };
  /// `pages` has room for max_pages, for the driver reads to the end of the parameters.
  struct Batch {
    api::CUdeviceptr device;
    api::CUdeviceptr host;   ///< where registered host memory begins for the device
    api::CUdeviceptr flags;  ///< likewise: a word a page, that gets `tag` when the page is done
    std::uint32_t tag;
    std::span<Page, max_pages> pages;
    std::size_t count;  ///< of `pages`: 1 to max_pages
  };

  /// Fails if the driver cannot compile it, with the driver's reason.
  static Result<PageKernel> load(const Context&);

  PageKernel(PageKernel&&) noexcept;
  PageKernel& operator=(PageKernel&&) noexcept;
  ~PageKernel();

  /// Only queue, as Stream's copies do. Host addresses are multiples of 16 bytes.
  Result<void> copy_to_host(Stream& stream, Batch& batch) const;
  /// Host addresses are multiples of host_alignment.
  Result<void> copy_from_host(Stream& stream, Batch& batch) const;

 private:
  /// For few pages, more, and max_pages: the shorter the parameters, the cheaper the launch.
  static constexpr std::size_t sizes[] = {16, 64, max_pages};
  struct Functions {
    api::CUfunction to_host[std::size(sizes)] = {};
    api::CUfunction from_host[std::size(sizes)] = {};
  };

  PageKernel(const Driver& driver, std::string label, api::CUmodule module)
      : driver_(driver), label_(std::move(label)), module_(module) {}

  static std::string source();
  Result<void> launch(const api::CUfunction (&functions)[std::size(sizes)], Stream& stream,
                      Batch& batch) const;

  Driver driver_;
  std::string label_;
  api::CUmodule module_;  // null once moved from
  Functions functions_;
};

}  // namespace vramswap::cuda
