#include "daemon/handover/copy_notes.hpp"

#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <map>
#include <set>
#include <utility>

#include "daemon/base/page_size.hpp"

namespace vramswap {
namespace {

// The kernel has room for fewer swap areas.
constexpr std::size_t kMaxStores = 64;

struct Batch {
  std::atomic<std::uint32_t> count;  // of the ranges; 0: nothing is being copied
  std::array<CopyNotes::Range, CopyNotes::kMaxRanges> ranges;
};
using Batches = std::array<Batch, CopyNotes::kBatches>;

struct Suspect {
  CopyNotes::Page page;
  std::uint16_t deaths;
  std::uint16_t failed_trials;
  std::uint32_t is_on_trial;
};

struct StoreRange {
  std::uint64_t address;
  std::uint64_t bytes;  // 0: there is no store
  std::uint32_t segment;
};

}  // namespace

// All zeros: nothing was noted yet.
struct CopyNotes::Layout {
  std::atomic<std::uint32_t> has_failed;
  std::uint32_t suspect_count;
  std::array<Suspect, kMaxSuspects> suspects;
  std::array<StoreRange, kMaxStores> stores;
  // One for each I/O thread follows.

  std::span<Suspect> list() { return std::span(suspects).first(suspect_count); }
  Batches& batches(unsigned thread) { return reinterpret_cast<Batches*>(this + 1)[thread]; }
  static std::uint64_t size_bytes(unsigned io_threads) {
    return sizeof(Layout) + io_threads * sizeof(Batches);
  }
};

Result<UniqueFd> CopyNotes::create(unsigned io_threads, HostMemory memory) {
  return create_host_memory("vramswap-copy-notes", Layout::size_bytes(io_threads), memory);
}

Result<CopyNotes> CopyNotes::map(int fd, unsigned io_threads) {
  struct stat status {};
  if (fstat(fd, &status) != 0) return fail_errno("copy notes", "fstat", errno);
  const std::uint64_t bytes = Layout::size_bytes(io_threads);
  if (std::cmp_not_equal(status.st_size, bytes)) {
    return fail_errno("copy notes", "size check", EINVAL);
  }
  const auto memory = map_host_memory("copy notes", fd, bytes);
  if (!memory) return memory.error();
  return CopyNotes(*memory, io_threads);
}

CopyNotes::CopyNotes(CopyNotes&& other) noexcept
    : memory_(std::exchange(other.memory_, {})), io_threads_(other.io_threads_) {}

CopyNotes& CopyNotes::operator=(CopyNotes&& other) noexcept {
  std::swap(memory_, other.memory_);
  std::swap(io_threads_, other.io_threads_);
  return *this;
}

CopyNotes::~CopyNotes() {
  if (!memory_.empty()) munmap(memory_.data(), memory_.size());
}

CopyNotes::Layout& CopyNotes::layout() const {
  return *reinterpret_cast<Layout*>(memory_.data());
}

// No other process reads it while this one lives, so only the compiler must keep the order.
void CopyNotes::begin(unsigned thread, std::size_t batch, std::span<const Range> ranges) {
  Batch& note = layout().batches(thread)[batch];
  std::ranges::copy(ranges, note.ranges.begin());
  note.count.store(static_cast<std::uint32_t>(ranges.size()), std::memory_order_release);
}

void CopyNotes::end(unsigned thread, std::size_t batch) {
  layout().batches(thread)[batch].count.store(0, std::memory_order_release);
}

void CopyNotes::note_failure() {
  layout().has_failed = 1;
}

void CopyNotes::set_store(std::uint32_t segment, std::uint64_t address, std::uint64_t bytes) {
  auto& stores = layout().stores;
  const auto is_its = [&](const StoreRange& store) {
    return store.bytes > 0 && store.segment == segment;
  };
  auto place = std::ranges::find_if(stores, is_its);
  if (place == stores.end()) place = std::ranges::find(stores, 0U, &StoreRange::bytes);
  if (place != stores.end()) *place = {address, bytes, segment};
}

std::vector<CopyNotes::Page> CopyNotes::pages_under_way() const {
  std::set<Page> pages;
  const auto add = [&](const Range& range) {
    for (const StoreRange& store : layout().stores) {
      if (range.address < store.address || range.address >= store.address + store.bytes) continue;
      const std::uint64_t first = (range.address - store.address) / kPageBytes;
      for (std::uint64_t i = 0; i < range.bytes / kPageBytes; ++i) {
        pages.insert({store.segment, static_cast<std::uint32_t>(first + i)});
      }
    }
  };
  for (unsigned thread = 0; thread < io_threads_; ++thread) {
    for (const Batch& batch : layout().batches(thread)) {
      const auto count = std::min<std::size_t>(batch.count.load(), kMaxRanges);
      std::ranges::for_each(std::span(batch.ranges).first(count), add);
    }
  }
  return {pages.begin(), pages.end()};
}

void CopyNotes::take_over() {
  Layout& notes = layout();
  for (Suspect& suspect : notes.list()) {
    suspect.failed_trials += std::exchange(suspect.is_on_trial, 0) != 0 ? 1 : 0;
  }
  if (notes.has_failed.exchange(0) != 0) {
    std::map<Page, Suspect> earlier;
    for (const Suspect& suspect : notes.list()) earlier.emplace(suspect.page, suspect);
    std::vector<Suspect> suspects;
    for (const Page& page : pages_under_way()) {
      const auto known = earlier.find(page);
      auto& suspect = suspects.emplace_back(page, std::uint16_t{1}, std::uint16_t{0}, 0U);
      if (known == earlier.end()) continue;
      suspect.deaths = static_cast<std::uint16_t>(std::min(known->second.deaths + 1, UINT16_MAX));
      suspect.failed_trials = known->second.failed_trials;
    }
    // If there is no room for all, keeps those that have been seen most often.
    std::ranges::stable_sort(suspects, std::greater(), &Suspect::deaths);
    if (suspects.size() > kMaxSuspects) suspects.resize(kMaxSuspects);
    std::ranges::copy(suspects, notes.suspects.begin());
    notes.suspect_count = static_cast<std::uint32_t>(suspects.size());
  }
  for (unsigned thread = 0; thread < io_threads_; ++thread) {
    for (Batch& batch : notes.batches(thread)) batch.count = 0;
  }
  notes.stores = {};
}

std::vector<CopyNotes::Page> CopyNotes::select(std::uint32_t segment, bool is_convicted) const {
  std::vector<Page> pages;
  for (const Suspect& suspect : layout().list()) {
    const bool is_due = suspect.deaths >= kDeathsToTrial;
    const bool has_failed = suspect.failed_trials >= kFailedTrials;
    if (suspect.page.segment != segment || !is_due || has_failed != is_convicted) continue;
    pages.push_back(suspect.page);
  }
  return pages;
}

std::vector<CopyNotes::Page> CopyNotes::due_for_trial(std::uint32_t segment) const {
  return select(segment, false);
}

std::vector<CopyNotes::Page> CopyNotes::convicted(std::uint32_t segment) const {
  return select(segment, true);
}

void CopyNotes::begin_trial(Page page) {
  const auto suspect = std::ranges::find(layout().list(), page, &Suspect::page);
  if (suspect != layout().list().end()) suspect->is_on_trial = 1;
}

void CopyNotes::forget(Page page) {
  auto suspects = layout().list();
  const auto suspect = std::ranges::find(suspects, page, &Suspect::page);
  if (suspect == suspects.end()) return;
  *suspect = suspects.back();
  --layout().suspect_count;
}

}  // namespace vramswap
