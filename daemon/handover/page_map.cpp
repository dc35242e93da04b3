#include "daemon/handover/page_map.hpp"

#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace vramswap {

static_assert(std::atomic<std::uint8_t>::is_always_lock_free &&
                  sizeof(std::atomic<std::uint8_t>) == 1,
              "the map is shared between processes");

Result<UniqueFd> PageMap::create(std::uint64_t page_count, HostMemory memory) {
  return create_host_memory("vramswap-page-map", page_count, memory);
}

Result<PageMap> PageMap::map(int fd, std::uint64_t page_count) {
  struct stat status {};
  if (fstat(fd, &status) != 0) return fail_errno("page map", "fstat", errno);
  if (std::cmp_not_equal(status.st_size, page_count)) {
    return fail_errno("page map", "size check", EINVAL);
  }
  const auto memory = map_host_memory("page map", fd, page_count);
  if (!memory) return memory.error();
  return PageMap({reinterpret_cast<std::atomic<std::uint8_t>*>(memory->data()), page_count});
}

PageMap::PageMap(PageMap&& other) noexcept : pages_(std::exchange(other.pages_, {})) {}

PageMap& PageMap::operator=(PageMap&& other) noexcept {
  std::swap(pages_, other.pages_);
  return *this;
}

PageMap::~PageMap() {
  if (!pages_.empty()) munmap(pages_.data(), pages_.size());
}

std::uint64_t PageMap::lose_valid() {
  std::uint64_t lost = 0;
  for (std::uint64_t page = 0; page < page_count(); ++page) {
    if (at(page) != PageState::valid) continue;
    set(page, 1, PageState::lost);
    ++lost;
  }
  return lost;
}

std::uint64_t PageMap::run_length(std::uint64_t first, std::uint64_t limit) const {
  const PageState state = at(first);
  std::uint64_t length = 1;
  while (length < limit && at(first + length) == state) ++length;
  return length;
}

bool PageMap::any(std::uint64_t first, std::uint64_t count, PageState state) const {
  for (std::uint64_t page = first; page < first + count; ++page) {
    if (at(page) == state) return true;
  }
  return false;
}

std::uint64_t PageMap::count(PageState state) const {
  return static_cast<std::uint64_t>(
      std::ranges::count_if(pages_, [state](const std::atomic<std::uint8_t>& page) {
        return page.load(std::memory_order_relaxed) == static_cast<std::uint8_t>(state);
      }));
}

}  // namespace vramswap
