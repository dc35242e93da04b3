#include "daemon/worker/staging.hpp"

#include <sys/mman.h>

#include <cerrno>
#include <utility>

namespace vramswap {
namespace {

constexpr std::size_t kChunkBytes = Staging::kHeaderBytes + Staging::kDataBytes;
constexpr std::size_t kChunksAt = Staging::kReceiveAreas * Staging::kReceiveBytes;
constexpr std::size_t kTotalBytes = kChunksAt + Staging::kChunkCount * kChunkBytes;

}  // namespace

Result<Staging> Staging::create() {
  const UniqueFd fd(memfd_create("vramswap-staging", MFD_CLOEXEC));
  if (!fd) return fail_errno("staging memory", "memfd_create", errno);
  if (ftruncate(fd.get(), kTotalBytes) != 0) {
    return fail_errno("staging memory", "ftruncate", errno);
  }
  void* memory =
      mmap(nullptr, kTotalBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd.get(), 0);
  if (memory == MAP_FAILED) return fail_errno("staging memory", "mmap", errno);
  return Staging({static_cast<std::byte*>(memory), kTotalBytes});
}

Staging::Staging(std::span<std::byte> memory) : memory_(memory) {
  free_.reserve(kChunkCount);
  for (std::size_t chunk = kChunkCount; chunk > 0; --chunk) {
    free_.push_back(static_cast<Chunk>(chunk - 1));
  }
}

Staging::Staging(Staging&& other) noexcept
    : memory_(std::exchange(other.memory_, {})), free_(std::move(other.free_)) {}

Staging::~Staging() {
  if (!memory_.empty()) munmap(memory_.data(), memory_.size());
}

std::span<std::byte> Staging::headers(Chunk chunk) const {
  return memory_.subspan(kChunksAt + chunk * kChunkBytes, kHeaderBytes);
}

std::span<std::byte> Staging::data(Chunk chunk) const {
  return memory_.subspan(kChunksAt + chunk * kChunkBytes + kHeaderBytes, kDataBytes);
}

Staging::Chunk Staging::take() {
  const Chunk chunk = free_.back();
  free_.pop_back();
  return chunk;
}

void Staging::give_back(Chunk chunk) {
  free_.push_back(chunk);
}

}  // namespace vramswap
