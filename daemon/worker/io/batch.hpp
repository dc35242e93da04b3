// The complete requests among the bytes of one receive call, served together: one batch of copies
// in each direction. Allocates nothing after construction.
//
// The order of calls: collect(), start(), next_read_replies() until it returns nothing,
// finish_changes(), clear(). From start() until the batch is finished the store is copying. Another
// batch of the same thread may run meanwhile, in the Copier's other slot.
#pragma once

#include <sys/uio.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "daemon/base/error.hpp"
#include "daemon/worker/io/io_counters.hpp"
#include "daemon/worker/io/read_replies.hpp"
#include "daemon/worker/io/served_segment.hpp"

namespace vramswap {

class Batch {
 public:
  // Every request may be a READ.
  static constexpr std::size_t kMaxReplies = ReadReplies::kMaxReplies;

  // The size of the kernel's usual swap-in. Pipeline::start says what it decides.
  static constexpr std::size_t kLargeRequestBytes = 8 * kPageBytes;

  // `slot` is the batch's slot of the Copier.
  Batch(Staging& staging, Claimant claimant, unsigned slot);

  // Why collect() stopped.
  enum class Stop {
    need_bytes,  // every complete request is collected
    batch_full,  // start this batch, and collect the rest in another one
    busy,        // finish all batches of the thread first, then collect again
    disconnect,  // the peer sent NBD_CMD_DISC: serve what was collected, then close
    broken,      // the stream is out of step: serve what was collected, then close
  };
  struct Collected {
    std::size_t bytes;  // consumed
    Stop stop;
  };
  // Collects requests of `connection` from `bytes`, which must stay in place until the batch is
  // finished. A READ that finds no staging memory is put aside (connection.waiting_reads); a later
  // call collects it first. `other`: the batch of the same connection that is under way, if one is.
  Collected collect(Connection& connection, std::span<std::byte> bytes, const Batch* other);

  enum class Outcome {
    started,   // to be finished
    waiting,   // another thread, or another batch of this one, is changing the same pages. The
               // kernel lets that happen only to requests that it has timed out (write_fence.hpp).
               // Finish what is started, then try again.
    given_up,  // the kernel has shut the connection down: nothing was changed, and nothing may be
               // answered
  };
  // Begins to copy. Errors, here and below, are the store's.
  Result<Outcome> start(Copier& copier);
  bool is_started() const { return started_; }
  // Whether the average request copies so much that the next batch should not wait for this one.
  bool has_large_requests() const {
    return to_store_bytes_ + reads_.copy_bytes() >=
           kLargeRequestBytes * std::max<std::size_t>(reply_count(), 1);
  }
  bool has_work() const { return reply_count() > 0 || has_changes(); }
  bool has_changes() const { return !changes_.empty(); }

  // If the batch is a single READ, of a segment that is not suspect: its reply header, to
  // be sent while the data is being copied, so that the thread that waits for the reply wakes up
  // meanwhile. Otherwise nothing.
  std::span<iovec> early_header(Connection& connection);
  std::size_t read_bytes() const { return reads_.copy_bytes(); }

  // The next replies to READs: see ReadReplies::next.
  Result<std::span<iovec>> next_read_replies(Connection& connection, Copier& copier);
  // See ReadReplies::is_cut_off.
  bool is_cut_off() const { return reads_.is_cut_off(); }
  // Waits until every collected WRITE is in the store, and records it in the page map.
  Result<void> finish_changes(Copier& copier);

  std::size_t reply_count() const { return reads_.count() + non_read_requests_.size(); }
  // All other replies, after finish_changes(). They lie in memory of the batch. May be empty.
  // Replies must be sent in the order in which these functions return them.
  std::span<iovec> non_read_replies(Connection& connection);

  // The requests that next_read_replies() and non_read_replies() answer.
  std::span<const IoCounters::Answered> answered_reads() const { return reads_.answered(); }
  std::span<const IoCounters::Answered> non_read_requests() const { return non_read_requests_; }

  // Forgets everything, and releases the staging memory of replies that were not sent.
  void clear();

 private:
  struct Change {
    std::uint64_t first_page;
    std::uint64_t page_count;
    PageState state;  // afterwards: valid by a WRITE, empty by a TRIM or a WRITE of zeros
  };

  enum class ReadResult { collected, batch_full, no_staging, busy };

  // Whether the batch changes one of the request's pages.
  bool changes(const transmission::Request& request) const;
  void reply(const transmission::Request& request, std::uint32_t error) {
    non_read_requests_.push_back({request, error});
  }
  std::size_t collect_payload(std::span<std::byte> bytes);
  void store_pages(std::uint64_t offset, std::span<std::byte> pages);
  void begin_changes();
  ReadResult collect_waiting_reads(bool others_change);
  ReadResult collect_read(const transmission::Request& request, bool others_change);
  bool claim_pages();
  void release_pages();

  const Claimant claimant_;
  const unsigned slot_;
  Connection* connection_ = nullptr;  // the one that the requests came from
  bool started_ = false;
  std::vector<Copy> to_store_;
  std::size_t to_store_bytes_ = 0;
  std::vector<std::uint32_t> checksums_;  // of each page in to_store_
  std::vector<Change> changes_;           // in wire order
  ReadReplies reads_;
  std::vector<IoCounters::Answered> non_read_requests_;
  std::vector<std::byte> non_read_headers_;
  iovec non_read_wire_{};  // what the last non_read_replies() returned
};

}  // namespace vramswap
