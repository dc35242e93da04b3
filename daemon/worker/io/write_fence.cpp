#include "daemon/worker/io/write_fence.hpp"

#include <poll.h>

#include <array>

namespace vramswap {
namespace {

// By id. Id 0 is no claimant.
std::array<std::atomic<bool>, 256> taken;

}  // namespace

Result<Claimant> Claimant::create() {
  for (std::size_t id = 1; id < taken.size(); ++id) {
    if (!taken[id].exchange(true)) return Claimant(static_cast<std::uint8_t>(id));
  }
  return fail("write fence: more than 255 batches in this process");
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
    // No other claimant sets or clears this id. A page that was named twice may belong to another
    // claimant by now.
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
