// Copies between staging memory and VRAM, each batch by the way that is fastest for it.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <span>

#include "cuda/context.hpp"
#include "cuda/error.hpp"
#include "cuda/page_kernel.hpp"
#include "daemon/base/error.hpp"
#include "daemon/worker/store/store.hpp"

namespace vramswap {

// What the copiers of a device share.
struct VramCopierShared {
  // Nothing: it could not be loaded, and all goes by the driver's own copies.
  std::optional<cuda::PageKernel> kernel;
  // Copiers that have a batch under way.
  std::atomic<unsigned> busy = 0;
};

// For the calling thread, where `context` is current. It, `shared` and `host` outlive the copier.
Result<std::unique_ptr<Copier>> make_vram_copier(const cuda::Context& context,
                                                 VramCopierShared& shared,
                                                 std::span<std::byte> host);

}  // namespace vramswap
