#include "daemon/worker/process/store_move.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <optional>

#include "daemon/base/page_size.hpp"
#include "daemon/system/parallel.hpp"
#include "daemon/worker/io/page_check.hpp"
#include "daemon/worker/store/noting_copier.hpp"

namespace vramswap {
namespace {

// What a thread copies at once.
constexpr std::uint64_t kChunkPages = Copier::kMaxPages;

struct FreeMemory {
  void operator()(std::byte* memory) const { std::free(memory); }
};

std::byte* bytes_of(const Store& store) {
  return reinterpret_cast<std::byte*>(store.address());
}

}  // namespace

StoreMove::StoreMove(StoreDevice& card, ServedSegment& segment, const Store& target)
    : card_device_(card),
      segment_(segment),
      direction_(target.place() == StorePlace::host ? Direction::to_host : Direction::from_host),
      host_(bytes_of(direction_ == Direction::to_host ? target : *segment.store)),
      card_((direction_ == Direction::to_host ? *segment.store : target).address()) {}

Result<void> StoreMove::run(StoreDevice& card, ServedSegment& segment, const Store& target,
                            const Options& options) {
  StoreMove move(card, segment, target);
  std::mutex mutex;
  std::optional<Error> failure;
  run_in_parallel(options.threads, [&](unsigned thread) {
    const auto worked = move.work(thread, options.notes);
    if (worked) return;
    const std::scoped_lock lock(mutex);
    failure = worked.error();
  });
  if (failure) return *failure;
  return {};
}

Result<void> StoreMove::work(unsigned thread, CopyNotes* notes) {
  constexpr std::size_t kStagingBytes = kChunkPages * kPageBytes;
  const std::unique_ptr<std::byte[], FreeMemory> staging(
      static_cast<std::byte*>(std::aligned_alloc(kPageBytes, kStagingBytes)));
  if (!staging) return fail_errno("move", "aligned_alloc", ENOMEM);
  const std::span memory(staging.get(), kStagingBytes);
  auto made = card_device_.make_copier(memory);
  if (!made) return made.error();
  auto copier = *std::move(made);
  if (notes != nullptr) {
    copier = std::make_unique<NotingCopier>(std::move(copier), *notes, thread);
  }
  const std::uint64_t chunks = (segment_.pages->page_count() + kChunkPages - 1) / kChunkPages;
  for (std::uint64_t chunk = next_chunk_++; chunk < chunks; chunk = next_chunk_++) {
    if (auto copied = copy_chunk(chunk, *copier, memory); !copied) return copied;
  }
  return {};
}

bool StoreMove::is_right(std::uint64_t page, const std::byte* bytes) const {
  return segment_.pages->is_valid_with(
      page, page_checksum(std::span<const std::byte, kPageBytes>(bytes, kPageBytes)));
}

// Without those whose bytes are wrong already: a copy does not make them right.
std::vector<StoreMove::Run> StoreMove::valid_runs(std::uint64_t first, std::uint64_t end) {
  std::vector<Run> runs;
  bool continues = false;
  for (std::uint64_t page = first; page < end; ++page) {
    bool is_good = segment_.pages->at(page) == PageState::valid;
    if (is_good && direction_ == Direction::from_host && !is_right(page, host_page(page))) {
      lose_page(segment_, page);
      is_good = false;
    }
    if (is_good && continues) ++runs.back().count;
    if (is_good && !continues) runs.push_back({page, 1});
    continues = is_good;
  }
  return runs;
}

Result<void> StoreMove::copy(Copier& copier, std::span<const Run> runs,
                             std::span<std::byte> staging) {
  std::vector<Copy> copies;
  std::byte* next = staging.data();
  for (const Run& run : runs) {
    copies.push_back({next, card_ + run.first * kPageBytes, run.count * kPageBytes});
    next += copies.back().bytes;
  }
  if (auto begun = copier.begin(direction_, 0, copies); !begun) return begun;
  return copier.wait(direction_, 0, copies.size());
}

Result<void> StoreMove::copy_chunk(std::uint64_t chunk, Copier& copier,
                                   std::span<std::byte> staging) {
  const std::uint64_t first = chunk * kChunkPages;
  const auto runs = valid_runs(first, std::min(first + kChunkPages, segment_.pages->page_count()));
  if (runs.empty()) return {};
  if (direction_ == Direction::from_host) {
    std::byte* next = staging.data();
    for (const Run& run : runs) {
      std::memcpy(next, host_page(run.first), run.count * kPageBytes);
      next += run.count * kPageBytes;
    }
    return copy(copier, runs, staging);
  }
  if (auto copied = copy(copier, runs, staging); !copied) return copied;
  const std::byte* next = staging.data();
  for (const Run& run : runs) {
    std::memcpy(host_page(run.first), next, run.count * kPageBytes);
    next += run.count * kPageBytes;
  }
  for (const Run& run : runs) {
    for (std::uint64_t page = run.first; page < run.first + run.count; ++page) {
      if (is_right(page, host_page(page))) continue;
      const Run alone[] = {{page, 1}};
      if (auto copied = copy(copier, alone, staging); !copied) return copied;
      std::memcpy(host_page(page), staging.data(), kPageBytes);
      if (!is_right(page, host_page(page))) lose_page(segment_, page);
    }
  }
  return {};
}

}  // namespace vramswap
