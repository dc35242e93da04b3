// Copies a segment's pages from one store to another, while nobody serves the segment.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "daemon/base/error.hpp"
#include "daemon/handover/copy_notes.hpp"
#include "daemon/worker/io/served_segment.hpp"
#include "daemon/worker/store/store.hpp"

namespace vramswap {

// One of the stores is in host memory, the other one is the card's. What is copied passes through
// staging memory: to register a whole store takes the driver 0.3 s a GiB.
class StoreMove {
 public:
  struct Options {
    unsigned threads = 1;        // at most the I/O threads of the worker, which pause meanwhile
    CopyNotes* notes = nullptr;  // which has a place for each of these
  };

  // Copies the valid pages of `segment` from its store to `target`, which has only zeros, and
  // compares each with its checksum. A page whose bytes are wrong is lost from now on. After an
  // error, which is the card's, the target is of no use, and the source is as before.
  static Result<void> run(StoreDevice& card, ServedSegment& segment, const Store& target,
                          const Options& options);

 private:
  struct Run {
    std::uint64_t first;  // page
    std::uint64_t count;
  };

  StoreMove(StoreDevice& card, ServedSegment& segment, const Store& target);

  Result<void> work(unsigned thread, CopyNotes* notes);
  Result<void> copy_chunk(std::uint64_t chunk, Copier& copier, std::span<std::byte> staging);
  std::vector<Run> valid_runs(std::uint64_t first, std::uint64_t end);
  Result<void> copy(Copier& copier, std::span<const Run> runs, std::span<std::byte> staging);
  bool is_right(std::uint64_t page, const std::byte* bytes) const;
  std::byte* host_page(std::uint64_t page) const { return host_ + page * kPageBytes; }

  StoreDevice& card_device_;
  ServedSegment& segment_;
  const Direction direction_;
  std::byte* const host_;     // the first byte of the store in host memory
  const std::uint64_t card_;  // the address of the other one
  std::atomic<std::uint64_t> next_chunk_ = 0;
};

}  // namespace vramswap
