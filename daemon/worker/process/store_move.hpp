// Copies a segment's pages from one store to another, while nobody serves the segment.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "daemon/base/error.hpp"
#include "daemon/handover/copy_notes.hpp"
#include "daemon/worker/io/served_segment.hpp"
#include "daemon/worker/store/store.hpp"

namespace vramswap {

class StoreMove {
 public:
  // What takes time: `card` registers the store that is in host memory. One of the stores is
  // there, and the other one is the card's. `target` has only zeros. All three outlive this, and so
  // do the notes, which may be null. Called by the thread that calls run().
  static Result<std::unique_ptr<StoreMove>> prepare(StoreDevice& card, const Store& source,
                                                    const Store& target, CopyNotes* notes);

  // Copies the valid pages of `segment`, whose store is the source, and compares each with its
  // checksum. A page whose bytes are wrong is lost from now on. After an error, which is the
  // card's, the target is of no use, and the source is as before.
  Result<void> run(ServedSegment& segment);

 private:
  struct Run {
    std::uint64_t first;  // page
    std::uint64_t count;
  };
  struct Batch {
    std::vector<Run> runs;
    std::uint64_t page_count = 0;
    bool is_under_way = false;
  };

  StoreMove(std::unique_ptr<Copier> copier, const Store& source, const Store& target);

  Copy copy_of(const Run& run) const;
  void add(ServedSegment& segment, Batch& batch, const Run& run);
  Result<void> begin(unsigned slot);
  Result<void> finish(ServedSegment& segment, unsigned slot);
  bool is_right(const ServedSegment& segment, std::uint64_t page) const;

  const std::unique_ptr<Copier> copier_;
  const Direction direction_;
  std::byte* const host_;      // the first byte of the store in host memory
  const std::uint64_t card_;  // the address of the other one
  std::array<Batch, Copier::kSlots> batches_;
  std::vector<Copy> copies_;
};

}  // namespace vramswap
