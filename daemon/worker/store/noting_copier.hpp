// A Copier that notes which pages it is copying. If a copy kills the worker, the next one reads the
// notes.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <utility>

#include "daemon/handover/copy_notes.hpp"
#include "daemon/worker/store/store.hpp"

namespace vramswap {

class NotingCopier final : public Copier {
 public:
  // `notes` outlives the copier.
  NotingCopier(std::unique_ptr<Copier> copier, CopyNotes& notes, unsigned thread)
      : copier_(std::move(copier)), notes_(notes), thread_(thread) {}

  Result<void> begin(Direction direction, unsigned slot, std::span<const Copy> batch) override {
    for (std::size_t i = 0; i < batch.size(); ++i) ranges_[i] = {batch[i].address, batch[i].bytes};
    notes_.begin(thread_, index(direction, slot), std::span(ranges_).first(batch.size()));
    copies_[index(direction, slot)] = batch.size();
    return noted(copier_->begin(direction, slot, batch));
  }
  Result<void> wait(Direction direction, unsigned slot, std::size_t copies) override {
    auto result = noted(copier_->wait(direction, slot, copies));
    if (result && copies == copies_[index(direction, slot)]) {
      notes_.end(thread_, index(direction, slot));
    }
    return result;
  }

 private:
  static_assert(2 * kSlots == CopyNotes::kBatches && kMaxPages == CopyNotes::kMaxRanges);

  static std::size_t index(Direction direction, unsigned slot) {
    return (direction == Direction::to_host ? 0 : kSlots) + slot;
  }
  // The caller ends the worker on an error.
  Result<void> noted(Result<void> result) {
    if (!result) notes_.note_failure();
    return result;
  }

  const std::unique_ptr<Copier> copier_;
  CopyNotes& notes_;
  const unsigned thread_;
  std::array<CopyNotes::Range, kMaxPages> ranges_{};
  std::array<std::size_t, CopyNotes::kBatches> copies_{};
};

}  // namespace vramswap
