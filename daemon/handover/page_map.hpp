// The state of each 4 KiB page of a segment, and a checksum of its bytes. It is in host memory that
// supervisor and worker share, so it survives the death of either.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "daemon/base/error.hpp"
#include "daemon/base/unique_fd.hpp"
#include "daemon/handover/store_place.hpp"
#include "daemon/system/host_memory.hpp"

namespace vramswap {

enum class PageState : std::uint8_t {
  empty = 0,  // never written, or trimmed: reads as zeros, whatever bytes are in the store
  valid = 1,  // acknowledged bytes are in the store, and the checksum is theirs
  lost = 2,   // its bytes were lost, or differ from those written: reads fail until it is
              // written again
  // A WRITE has begun to copy: the store has old bytes, new ones, or some of both, and the checksum
  // says nothing. If the worker dies here, the kernel, which got no reply, sends the WRITE again.
  changing = 3,
};

// The layout of the shared memory: a header, a checksum a page, a state a page. The header says
// which store has the bytes, and counts wrong ones. Raise
// messages::kVersion with it.
class PageMap {
 public:
  // Creates the map of `page_count` empty pages. Both processes map it with map().
  static Result<UniqueFd> create(std::uint64_t page_count,
                                 HostMemory memory = HostMemory::swappable);
  // EINVAL: the size does not match.
  static Result<PageMap> map(int fd, std::uint64_t page_count);

  PageMap(PageMap&& other) noexcept;
  PageMap& operator=(PageMap&& other) noexcept;
  ~PageMap();

  std::uint64_t page_count() const { return states_.size(); }

  // Which store has the pages. It changes in one step, so that exactly one has them, whatever
  // process dies. Of a new map: {}.
  StoreId store() const;
  void set_store(StoreId store);

  // Pages [first, first + count) must lie in the map. The release store pairs with the acquire
  // load: a thread that sees `valid` also sees the checksum, and what the writer did to the store
  // before.
  PageState at(std::uint64_t page) const {
    return static_cast<PageState>(states_[page].load(std::memory_order_acquire));
  }
  void set(std::uint64_t first, std::uint64_t count, PageState state) {
    for (auto& page : states_.subspan(first, count)) {
      page.store(static_cast<std::uint8_t>(state), std::memory_order_release);
    }
  }
  // The page was `changing`. Its new bytes, which have this checksum, are in the store.
  void set_valid(std::uint64_t page, std::uint32_t checksum) {
    checksums_[page].store(checksum, std::memory_order_relaxed);
    set(page, 1, PageState::valid);
  }
  bool is_valid_with(std::uint64_t page, std::uint32_t checksum) const {
    return at(page) == PageState::valid &&
           checksums_[page].load(std::memory_order_relaxed) == checksum;
  }

  // Marks all valid and changing pages as lost, because the content of the store is gone. Returns
  // their number.
  std::uint64_t lose_valid();
  // Marks a page as lost because its bytes differ from those written. Returns how often that has
  // happened since the map was created.
  std::uint64_t lose_corrupt(std::uint64_t page);
  std::uint64_t corrupt_count() const { return corrupt_count_->load(std::memory_order_relaxed); }

  // The number of pages in a row, from `first` on and at most `limit`, that are in the same state
  // as `first`. At least 1.
  std::uint64_t run_length(std::uint64_t first, std::uint64_t limit) const;
  bool any(std::uint64_t first, std::uint64_t count, PageState state) const;
  std::uint64_t count(PageState state) const { return count(0, page_count(), state); }
  std::uint64_t count(std::uint64_t first, std::uint64_t count, PageState state) const;

 private:
  PageMap(std::span<std::byte> memory, std::uint64_t page_count);

  std::span<std::byte> memory_;  // owned: unmapped by the destructor
  std::atomic<std::uint64_t>* corrupt_count_;
  std::atomic<std::uint64_t>* store_;
  std::span<std::atomic<std::uint32_t>> checksums_;
  std::span<std::atomic<std::uint8_t>> states_;
};

}  // namespace vramswap
