// The state of each 4 KiB page of a segment, one byte a page. It is in host memory that supervisor
// and worker share, so it survives the death of either.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "daemon/base/error.hpp"
#include "daemon/base/unique_fd.hpp"
#include "daemon/system/host_memory.hpp"

namespace vramswap {

enum class PageState : std::uint8_t {
  empty = 0,  // never written, or trimmed: reads as zeros, whatever bytes are in the store
  valid = 1,  // acknowledged bytes are in the store
  lost = 2,   // its bytes were lost with the store: reads fail until it is written again
};

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

  std::uint64_t page_count() const { return pages_.size(); }

  // Pages [first, first + count) must lie in the map. The release store pairs with the acquire
  // load: a thread that sees `valid` also sees what the writer did to the store before.
  PageState at(std::uint64_t page) const {
    return static_cast<PageState>(pages_[page].load(std::memory_order_acquire));
  }
  void set(std::uint64_t first, std::uint64_t count, PageState state) {
    for (auto& page : pages_.subspan(first, count)) {
      page.store(static_cast<std::uint8_t>(state), std::memory_order_release);
    }
  }
  // Marks all valid pages as lost, because the content of the store is gone. Returns their number.
  std::uint64_t lose_valid();
  // The number of pages in a row, from `first` on and at most `limit`, that are in the same state
  // as `first`. At least 1.
  std::uint64_t run_length(std::uint64_t first, std::uint64_t limit) const;
  bool any(std::uint64_t first, std::uint64_t count, PageState state) const;
  std::uint64_t count(PageState state) const;

 private:
  explicit PageMap(std::span<std::atomic<std::uint8_t>> pages) : pages_(pages) {}

  std::span<std::atomic<std::uint8_t>> pages_;  // owned: unmapped by the destructor
};

}  // namespace vramswap
