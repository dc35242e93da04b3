#include "daemon/worker/io/write_fence.hpp"

#include <poll.h>

#include <array>

namespace vramswap {
namespace {

// By id; the first stands for nobody.
std::array<std::atomic<bool>, 256> taken;

}  // namespace

Result<Claimant> Claimant::create() {
  for (std::size_t id = 1; id < taken.size(); ++id) {
    if (!taken[id].exchange(true)) return Claimant(static_cast<std::uint8_t>(id));
  }
  return fail("more batches than a write fence can tell apart");
}

Claimant::~Claimant() {
  if (id_ != 0) taken[id_] = false;
}

bool WriteFence::claim(std::uint64_t first, std::uint64_t count, const Claimant& claimant) {
  for (std::uint64_t page = first; page < first + count; ++page) {
    std::uint8_t owner = kNobody;
    if (!owners_[page].compare_exchange_strong(owner, claimant.id()) && owner != claimant.id()) {
      return false;
    }
  }
  return true;
}

bool WriteFence::any_claimed(std::uint64_t first, std::uint64_t count) const {
  for (std::uint64_t page = first; page < first + count; ++page) {
    if (owners_[page].load(std::memory_order_relaxed) != kNobody) return true;
  }
  return false;
}

void WriteFence::release(std::uint64_t first, std::uint64_t count, const Claimant& claimant) {
  for (std::uint64_t page = first; page < first + count; ++page) {
    auto& owner = owners_[page];
    // Nobody else sets or clears this id. A page that was named twice may be another's by now.
    if (owner.load(std::memory_order_relaxed) == claimant.id()) {
      owner.store(kNobody, std::memory_order_release);
    }
  }
}

bool peer_has_shut_down(int socket) {
  pollfd look{socket, POLLRDHUP, 0};
  return poll(&look, 1, 0) > 0;
}

}  // namespace vramswap
