#include "daemon/worker/process/store_move.hpp"

#include <algorithm>
#include <utility>

#include "daemon/worker/io/page_check.hpp"
#include "daemon/worker/store/noting_copier.hpp"

namespace vramswap {

Result<std::unique_ptr<StoreMove>> StoreMove::prepare(StoreDevice& card, const Store& source,
                                                      const Store& target, CopyNotes* notes) {
  const Store& host = source.place() == StorePlace::host ? source : target;
  auto made =
      card.make_copier({reinterpret_cast<std::byte*>(host.address()), host.size_bytes()});
  if (!made) return made.error();
  auto copier = *std::move(made);
  // The I/O threads pause while this one copies, so it may have the place of the first.
  if (notes != nullptr) copier = std::make_unique<NotingCopier>(std::move(copier), *notes, 0);
  return std::unique_ptr<StoreMove>(new StoreMove(std::move(copier), source, target));
}

StoreMove::StoreMove(std::unique_ptr<Copier> copier, const Store& source, const Store& target)
    : copier_(std::move(copier)),
      direction_(source.place() == StorePlace::card ? Direction::to_host : Direction::from_host),
      host_(reinterpret_cast<std::byte*>(direction_ == Direction::to_host ? target.address()
                                                                          : source.address())),
      card_(direction_ == Direction::to_host ? source.address() : target.address()) {}

Copy StoreMove::copy_of(const Run& run) const {
  const std::uint64_t offset = run.first * kPageBytes;
  return {host_ + offset, card_ + offset, run.count * kPageBytes};
}

bool StoreMove::is_right(const ServedSegment& segment, std::uint64_t page) const {
  const std::span<const std::byte, kPageBytes> bytes(host_ + page * kPageBytes, kPageBytes);
  return segment.pages->is_valid_with(page, page_checksum(bytes));
}

// Batches of one size in two slots: the card copies one while this thread checks the other.
Result<void> StoreMove::run(ServedSegment& segment) {
  unsigned slot = 0;
  const std::uint64_t page_count = segment.pages->page_count();
  for (std::uint64_t page = 0; page < page_count;) {
    Batch& batch = batches_[slot];
    const std::uint64_t room = Copier::kMaxPages - batch.page_count;
    const std::uint64_t length =
        segment.pages->run_length(page, std::min(room, page_count - page));
    if (segment.pages->at(page) == PageState::valid) add(segment, batch, {page, length});
    page += length;
    if (batch.page_count < Copier::kMaxPages && page < page_count) continue;
    if (auto begun = begin(slot); !begun) return begun;
    slot = (slot + 1) % Copier::kSlots;
    if (auto finished = finish(segment, slot); !finished) return finished;
  }
  return finish(segment, (slot + 1) % Copier::kSlots);
}

void StoreMove::add(ServedSegment& segment, Batch& batch, const Run& run) {
  if (direction_ == Direction::to_host) {
    batch.runs.push_back(run);
    batch.page_count += run.count;
    return;
  }
  // What is wrong already does not become right by a copy.
  bool continues = false;
  for (std::uint64_t page = run.first; page < run.first + run.count; ++page) {
    const bool is_wrong = !is_right(segment, page);
    if (is_wrong) {
      lose_page(segment, page);
    } else if (continues) {
      ++batch.runs.back().count;
    } else {
      batch.runs.push_back({page, 1});
    }
    continues = !is_wrong;
    if (!is_wrong) ++batch.page_count;
  }
}

Result<void> StoreMove::begin(unsigned slot) {
  Batch& batch = batches_[slot];
  if (batch.runs.empty()) return {};
  copies_.clear();
  for (const Run& run : batch.runs) copies_.push_back(copy_of(run));
  batch.is_under_way = true;
  return copier_->begin(direction_, slot, copies_);
}

Result<void> StoreMove::finish(ServedSegment& segment, unsigned slot) {
  Batch& batch = batches_[slot];
  if (!std::exchange(batch.is_under_way, false)) return {};
  if (auto done = copier_->wait(direction_, slot, batch.runs.size()); !done) return done;
  const auto runs = std::exchange(batch.runs, {});
  batch.page_count = 0;
  if (direction_ == Direction::from_host) return {};
  for (const Run& run : runs) {
    for (std::uint64_t page = run.first; page < run.first + run.count; ++page) {
      if (is_right(segment, page)) continue;
      const Copy again = copy_of({page, 1});
      if (auto begun = copier_->begin(direction_, slot, {&again, 1}); !begun) return begun;
      if (auto done = copier_->wait(direction_, slot, 1); !done) return done;
      if (!is_right(segment, page)) lose_page(segment, page);
    }
  }
  return {};
}

}  // namespace vramswap
