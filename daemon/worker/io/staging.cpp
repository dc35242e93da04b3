#include "daemon/worker/io/staging.hpp"

#include <sys/mman.h>

#include <cerrno>
#include <utility>

#include "daemon/system/host_memory.hpp"

namespace vramswap {
namespace {

constexpr std::size_t kHeadersAt = Staging::kReceiveAreas * Staging::kReceiveBytes;
constexpr std::size_t kDataAt = kHeadersAt + Staging::kChunkCount * Staging::kHeaderBytes;
constexpr std::size_t kTotalBytes = kDataAt + Staging::kChunkCount * Staging::kDataBytes;

}  // namespace

Result<Staging> Staging::create() {
  const UniqueFd fd(memfd_create("vramswap-staging", MFD_CLOEXEC));
  if (!fd) return fail_errno("staging memory", "memfd_create", errno);
  if (ftruncate(fd.get(), kTotalBytes) != 0) {
    return fail_errno("staging memory", "ftruncate", errno);
  }
  const auto memory = map_host_memory("staging memory", fd.get(), kTotalBytes);
  if (!memory) return memory.error();
  return Staging(*memory);
}

Staging::Staging(std::span<std::byte> memory) : memory_(memory) {}

Staging::Staging(Staging&& other) noexcept
    : memory_(std::exchange(other.memory_, {})), free_(other.free_) {}

Staging::~Staging() {
  if (!memory_.empty()) munmap(memory_.data(), memory_.size());
}

std::span<std::byte> Staging::headers(Chunk chunk) const {
  return memory_.subspan(kHeadersAt + chunk * kHeaderBytes, kHeaderBytes);
}

std::span<std::byte> Staging::data(Chunk chunk) const {
  return memory_.subspan(kDataAt + chunk * kDataBytes, kDataBytes);
}

Staging::Chunk Staging::allocate() {
  const auto chunk = static_cast<Chunk>(std::countr_zero(free_));
  free_ &= free_ - 1;
  return chunk;
}

void Staging::release(Chunk chunk) {
  free_ |= std::uint64_t{1} << chunk;
}

}  // namespace vramswap
