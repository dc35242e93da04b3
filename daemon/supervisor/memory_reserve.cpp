#include "daemon/supervisor/memory_reserve.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace vramswap {
namespace {

constexpr std::size_t kStepBytes = 1 << 20;

}  // namespace

Result<void> MemoryReserve::fill_step() {
  if (is_full() || size_bytes_ == 0) return {};
  if (memory_.empty()) {
    // Without access, so that mlockall(MCL_FUTURE) does not make all of it resident in one go.
    void* memory = mmap(nullptr, size_bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return fail_errno("memory reserve", "mmap", errno);
    memory_ = {static_cast<std::byte*>(memory), size_bytes_};
    filled_bytes_ = 0;
  }
  const auto step =
      memory_.subspan(filled_bytes_, std::min(kStepBytes, memory_.size() - filled_bytes_));
  if (mprotect(step.data(), step.size(), PROT_READ | PROT_WRITE) != 0) {
    return fail_errno("memory reserve", "mprotect", errno);
  }
  // A locked mapping that becomes writable is filled by the kernel, but only where it could be.
  if (madvise(step.data(), step.size(), MADV_POPULATE_WRITE) != 0) {
    return fail_errno("memory reserve", "MADV_POPULATE_WRITE", errno);
  }
  filled_bytes_ += step.size();
  return {};
}

void MemoryReserve::release() {
  if (!memory_.empty()) munmap(memory_.data(), memory_.size());
  memory_ = {};
  filled_bytes_ = 0;
}

}  // namespace vramswap
