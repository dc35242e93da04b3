#include "daemon/worker/io/page_check.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <thread>

#include "daemon/system/log.hpp"

namespace vramswap {
namespace {

// After so many tries the caller gives up: a batch of its own thread may have claimed the page, or
// a batch that waits for the caller's.
constexpr unsigned kClaims = 20;
// If the content of a segment was replaced, all its pages are wrong. After so many messages only
// each power of two gets one.
constexpr std::uint64_t kMessages = 16;

// False: a batch has claimed it, maybe the caller's own.
bool claim(ServedSegment& segment, std::uint64_t page, const Claimant& claimant) {
  for (unsigned attempt = 0; attempt < kClaims; ++attempt) {
    if (!segment.fence->any_claimed(page, 1) && segment.fence->claim(page, 1, claimant)) {
      return true;
    }
    std::this_thread::sleep_for(kClaimPause);
  }
  return false;
}

}  // namespace

void lose_page(ServedSegment& segment, std::uint64_t page) {
  const std::uint64_t count = segment.lose_corrupt(page);
  if (count > kMessages && !std::has_single_bit(count)) return;
  log_error(
      fmt::format("segment {}: page {} does not hold the bytes that were written to it. It is lost:"
                  " programs that read it get SIGBUS ({} so far)",
                  segment.id, page, count),
      {.message_id = message_ids::kWrongBytes,
       .segment = segment.id,
       .page = page,
       .lost_pages = count});
}

Result<Look> look_again(ServedSegment& segment, std::uint64_t page,
                        std::span<std::byte, kPageBytes> data, Copier& copier, unsigned slot,
                        const Claimant& claimant) {
  if (!claim(segment, page, claimant)) return Look::busy;
  Look look = Look::wrong;
  const PageState state = segment.pages->at(page);
  if (state == PageState::empty) {
    std::ranges::fill(data, std::byte{0});
    look = Look::right;
  } else if (state == PageState::valid) {
    const Copy copy{data.data(), segment.store->address() + page * kPageBytes, kPageBytes};
    // A failure ends the worker, so the claim needs no release.
    auto copied = copier.begin(Direction::to_host, slot, {&copy, 1});
    if (copied) copied = copier.wait(Direction::to_host, slot, 1);
    if (!copied) return copied.error();
    if (segment.pages->is_valid_with(page, page_checksum(data))) {
      look = Look::right;
    } else {
      lose_page(segment, page);
    }
  }
  segment.fence->release(page, 1, claimant);
  return look;
}

}  // namespace vramswap
