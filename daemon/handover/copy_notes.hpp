// Notes of the pages that the I/O threads of a worker are copying, in host memory that outlives the
// worker. If a copy kills a worker, its successor finds out which of those pages is the cause. The
// supervisor makes the memory, and gives it to each worker of a slot.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "daemon/base/error.hpp"
#include "daemon/base/unique_fd.hpp"
#include "daemon/system/host_memory.hpp"

namespace vramswap {

class CopyNotes {
 public:
  // The number of batches that an I/O thread has under way at a time, and of ranges in a batch.
  static constexpr std::size_t kBatches = 4;
  static constexpr std::size_t kMaxRanges = 512;
  // Pages that are remembered as suspects: all that eight threads can be copying.
  static constexpr std::size_t kMaxSuspects = 8 * kBatches * kMaxRanges;
  // A page that was being copied at so many deaths in a row is tried alone.
  static constexpr unsigned kDeathsToTrial = 3;
  // A page whose trial has ended so many workers in a row is the one that kills them.
  static constexpr unsigned kFailedTrials = 3;

  // Addresses in the process that copies.
  struct Range {
    std::uint64_t address;
    std::uint64_t bytes;
  };
  struct Page {
    std::uint32_t segment;
    std::uint32_t number;
    auto operator<=>(const Page&) const = default;
  };

  static Result<UniqueFd> create(unsigned io_threads, HostMemory memory);
  // EINVAL: it was made for another number of threads.
  static Result<CopyNotes> map(int fd, unsigned io_threads);
  CopyNotes(CopyNotes&& other) noexcept;
  CopyNotes& operator=(CopyNotes&& other) noexcept;
  ~CopyNotes();

  // For an I/O thread: its batch is being copied from now on, and until end(). `batch` is below
  // kBatches, `ranges` at most kMaxRanges.
  void begin(unsigned thread, std::size_t batch, std::span<const Range> ranges);
  void end(unsigned thread, std::size_t batch);
  // A copy has failed or hangs, and the worker ends because of that.
  void note_failure();

  // Where the store of a segment is in this process; before anything is copied there.
  void set_store(std::uint32_t segment, std::uint64_t address, std::uint64_t bytes);
  void forget_store(std::uint32_t segment) { set_store(segment, 0, 0); }

  // For the successor, before it copies anything. If a copy ended the previous worker, the pages
  // that it was copying become suspects, and all other pages stop being suspects. A trial that was
  // under way has failed.
  void take_over();
  // The pages of the segment that must be tried alone, and those whose trials have failed.
  std::vector<Page> due_for_trial(std::uint32_t segment) const;
  std::vector<Page> convicted(std::uint32_t segment) const;
  // The trial counts as failed if no end_trial() follows, in this process.
  void begin_trial(Page page);
  void end_trial(Page page) { forget(page); }
  // The page is no suspect any more.
  void forget(Page page);

 private:
  struct Layout;
  CopyNotes(std::span<std::byte> memory, unsigned io_threads)
      : memory_(memory), io_threads_(io_threads) {}

  Layout& layout() const;
  std::vector<Page> pages_under_way() const;
  std::vector<Page> select(std::uint32_t segment, bool is_convicted) const;

  std::span<std::byte> memory_;  // owned: unmapped by the destructor
  unsigned io_threads_;
};

}  // namespace vramswap
