#include "daemon/supervisor/pool/memory_reserve.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>

namespace vramswap {
namespace {

constexpr std::size_t kPieceBytes = 1 << 20;
constexpr std::size_t kReleaseSteps = 32;

std::size_t pieces_of(std::size_t bytes) {
  return (bytes + kPieceBytes - 1) / kPieceBytes;
}

}  // namespace

void MemoryReserve::set_size(std::size_t bytes) {
  size_bytes_ = bytes;
  pieces_.reserve(pieces_of(bytes));
}

bool MemoryReserve::is_full() const {
  return pieces_.size() >= pieces_of(size_bytes_);
}

Result<void> MemoryReserve::fill_step() {
  if (is_full() || size_bytes_ == 0) return {};
  void* memory =
      mmap(nullptr, kPieceBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return fail_errno("memory reserve", "mmap", errno);
  pieces_.push_back({static_cast<std::byte*>(memory), kPieceBytes});
  // A locked mapping is filled by the kernel, but only where it could be.
  if (madvise(memory, kPieceBytes, MADV_POPULATE_WRITE) != 0) {
    return fail_errno("memory reserve", "MADV_POPULATE_WRITE", errno);
  }
  return {};
}

void MemoryReserve::release_step() {
  const std::size_t count = std::max<std::size_t>(pieces_of(size_bytes_) / kReleaseSteps, 1);
  for (std::size_t i = 0; i < count && !pieces_.empty(); ++i) {
    munmap(pieces_.back().data(), pieces_.back().size());
    pieces_.pop_back();
  }
}

void MemoryReserve::release() {
  while (!pieces_.empty()) release_step();
}

}  // namespace vramswap
