// Copies between staging memory and VRAM. Chooses the fastest way for each batch.
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

// Shared by all copiers of a device.
struct VramCopierShared {
  // Empty if it could not be loaded; then the copy functions of the driver do everything.
  std::optional<cuda::PageKernel> kernel;
  // The number of copiers that have a batch under way.
  std::atomic<unsigned> busy = 0;
};

// For the calling thread, on which `context` must be current. `context`, `shared` and `host`
// outlive the copier.
Result<std::unique_ptr<Copier>> make_vram_copier(const cuda::Context& context,
                                                 VramCopierShared& shared,
                                                 std::span<std::byte> host);

}  // namespace vramswap
