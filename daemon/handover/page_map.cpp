#include "daemon/handover/page_map.hpp"

#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace vramswap {
namespace {

// The header holds two words. It has a cache line of its own.
constexpr std::size_t kHeaderBytes = 64;

std::uint64_t bytes_for(std::uint64_t page_count) {
  return kHeaderBytes + page_count * (sizeof(std::uint32_t) + sizeof(std::uint8_t));
}

template <class T>
constexpr bool kIsPlain = std::atomic<T>::is_always_lock_free &&
                          sizeof(std::atomic<T>) == sizeof(T);
static_assert(kIsPlain<std::uint8_t> && kIsPlain<std::uint32_t> && kIsPlain<std::uint64_t>,
              "the map is shared between processes");

}  // namespace

Result<UniqueFd> PageMap::create(std::uint64_t page_count, HostMemory memory) {
  return create_host_memory("vramswap-page-map", bytes_for(page_count), memory);
}

Result<PageMap> PageMap::map(int fd, std::uint64_t page_count) {
  struct stat status {};
  if (fstat(fd, &status) != 0) return fail_errno("page map", "fstat", errno);
  if (std::cmp_not_equal(status.st_size, bytes_for(page_count))) {
    return fail_errno("page map", "size check", EINVAL);
  }
  const auto memory = map_host_memory("page map", fd, bytes_for(page_count));
  if (!memory) return memory.error();
  return PageMap(*memory, page_count);
}

PageMap::PageMap(std::span<std::byte> memory, std::uint64_t page_count)
    : memory_(memory),
      corrupt_count_(reinterpret_cast<std::atomic<std::uint64_t>*>(memory.data())),
      store_(corrupt_count_ + 1),
      checksums_(reinterpret_cast<std::atomic<std::uint32_t>*>(memory.data() + kHeaderBytes),
                 page_count),
      states_(reinterpret_cast<std::atomic<std::uint8_t>*>(memory.data() + kHeaderBytes +
                                                           checksums_.size_bytes()),
              page_count) {}

PageMap::PageMap(PageMap&& other) noexcept
    : memory_(std::exchange(other.memory_, {})),
      corrupt_count_(other.corrupt_count_),
      store_(other.store_),
      checksums_(other.checksums_),
      states_(other.states_) {}

PageMap& PageMap::operator=(PageMap&& other) noexcept {
  std::swap(memory_, other.memory_);
  std::swap(corrupt_count_, other.corrupt_count_);
  std::swap(store_, other.store_);
  std::swap(checksums_, other.checksums_);
  std::swap(states_, other.states_);
  return *this;
}

PageMap::~PageMap() {
  if (!memory_.empty()) munmap(memory_.data(), memory_.size());
}

StoreId PageMap::store() const {
  const std::uint64_t word = store_->load(std::memory_order_acquire);
  return {.serial = static_cast<std::uint32_t>(word >> 8),
          .place = static_cast<StorePlace>(word & 0xff)};
}

void PageMap::set_store(StoreId store) {
  store_->store(std::uint64_t{store.serial} << 8 | static_cast<std::uint8_t>(store.place),
                std::memory_order_release);
}

std::uint64_t PageMap::lose_valid() {
  std::uint64_t lost = 0;
  for (std::uint64_t page = 0; page < page_count(); ++page) {
    if (at(page) != PageState::valid && at(page) != PageState::changing) continue;
    set(page, 1, PageState::lost);
    ++lost;
  }
  return lost;
}

std::uint64_t PageMap::lose_corrupt(std::uint64_t page) {
  set(page, 1, PageState::lost);
  return corrupt_count_->fetch_add(1, std::memory_order_relaxed) + 1;
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

std::uint64_t PageMap::count(std::uint64_t first, std::uint64_t count, PageState state) const {
  return static_cast<std::uint64_t>(std::ranges::count_if(
      states_.subspan(first, count), [state](const std::atomic<std::uint8_t>& page) {
        return page.load(std::memory_order_relaxed) == static_cast<std::uint8_t>(state);
      }));
}

}  // namespace vramswap
