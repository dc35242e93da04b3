// The work that one receive call brings: the complete requests among the received bytes, done as
// one batch of copies in each direction. Allocates nothing after construction.
//
// collect(), start(), then next_read_replies() to the end and finish_changes(), then clear().
// Between start() and finish the store is at work, and so may be another batch of the thread, in
// the Copier's other slot.
#pragma once

#include <sys/uio.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "daemon/base/error.hpp"
#include "daemon/worker/io/io_counters.hpp"
#include "daemon/worker/io/segment.hpp"

namespace vramswap {

class Batch {
 public:
  // Headers of replies to READs share the header page of the batch's first chunk.
  static constexpr std::size_t kMaxReplies = Staging::kHeadersPerChunk;

  // So much is sent while the rest is still being copied.
  static constexpr std::size_t kStepBytes = 2 * Staging::kDataBytes;
  // The kernel's usual swap-in. See Pipeline::start.
  static constexpr std::size_t kLargeRequestBytes = 8 * kPageBytes;

  // `slot` is the Copier's.
  Batch(Staging& staging, Claimant claimant, unsigned slot);

  enum class Stop {
    need_bytes,  // all complete requests were taken
    batch_full,  // start it, and collect the rest in another one
    busy,        // finish all batches of the thread first, then collect again
    disconnect,  // the other side said good-bye: run what was taken, then close
    broken,      // the stream can not be trusted: likewise
  };
  struct Collected {
    std::size_t bytes;  // consumed
    Stop stop;
  };
  // Takes requests of `connection` from `bytes`, which stay in place until the batch is finished.
  // READs without staging memory are put aside; a later call takes them first. `others_change`:
  // another batch of the thread is changing pages, so that a READ has to look out for them.
  Collected collect(Connection& connection, std::span<std::byte> bytes, bool others_change);

  enum class Outcome {
    started,   // to be finished
    waiting,   // another thread, or another batch of this one, is changing the same pages, which
               // the kernel lets happen only to requests that it has given up (write_fence.hpp):
               // finish what is started, and try again
    given_up,  // the kernel has dropped the connection: nothing was changed, nothing may be
               // answered
  };
  // Begins to move the data. Failure, here and below, is the store's.
  Result<Outcome> start(Copier& copier);
  bool is_started() const { return started_; }
  // Whether it moves so much for each request that the next batch should not wait for it.
  bool has_large_requests() const {
    return bytes_ >= kLargeRequestBytes * std::max<std::size_t>(reply_count(), 1);
  }
  bool has_work() const { return reply_count() > 0 || has_changes(); }
  bool has_changes() const { return !changes_.empty(); }

  // The reply header of the one READ that this batch is, or nothing where it is anything else. For
  // sending it while the data is being copied: who waits for the reply then wakes up meanwhile.
  std::span<iovec> early_header(Connection& connection);
  std::size_t read_bytes() const { return bytes_; }

  // Waits for the data of the READs that come next, some kStepBytes of them, and returns their
  // headers and data in the order of the wire, for ReplySender::lend: they lie in chunks that
  // belong to the socket from now on (they are on connection.lent). Nothing: that was all.
  Result<std::span<iovec>> next_read_replies(Connection& connection, Copier& copier);
  // Waits until every WRITE that was taken is in the store, and notes it in the page map.
  Result<void> finish_changes(Copier& copier);

  std::size_t reply_count() const { return reads_.size() + non_read_requests_.size(); }
  // All other replies, after finish_changes(); in memory of the batch. May be empty. What these
  // functions return is sent at once, in the order of the calls.
  std::span<iovec> non_read_replies(Connection& connection);

  // What the two answer.
  std::span<const IoCounters::Answered> answered_reads() const { return answered_reads_; }
  std::span<const IoCounters::Answered> non_read_requests() const { return non_read_requests_; }

  // Takes back what was not sent.
  void clear();

 private:
  struct Read {
    std::uint64_t cookie;
    std::size_t first_piece;  // of data, in data_
    std::size_t piece_count;
  };
  struct Change {
    std::uint64_t first_page;
    std::uint64_t page_count;
    PageState state;  // afterwards: valid by a WRITE, empty by a TRIM or a WRITE of zeros
  };

  enum class Taken { yes, batch_full, no_staging, busy };

  // Whether the batch changes one of the request's pages.
  bool changes(const transmission::Request& request) const;
  void reply(const transmission::Request& request, std::uint32_t error) {
    non_read_requests_.push_back({request, error});
  }
  std::size_t take_payload(std::span<std::byte> bytes);
  void take_pages(std::uint64_t offset, std::span<std::byte> pages);
  Taken take_waiting_reads(bool others_change);
  Taken take_read(const transmission::Request& request, bool others_change);
  void stage(std::uint64_t offset, std::span<std::byte> piece);
  void add_copy(const Copy& copy);
  bool claim_pages();
  void release_pages();

  Staging& staging_;
  const Claimant claimant_;
  const unsigned slot_;
  Connection* connection_ = nullptr;  // whose requests these are
  bool started_ = false;
  bool header_sent_ = false;
  std::size_t bytes_ = 0;  // to be copied
  std::vector<Copy> to_store_;
  std::vector<Change> changes_;  // in the order of the wire
  std::vector<Copy> to_host_;
  std::vector<Read> reads_;
  // What READs are answered with, and the copies that must be done before.
  struct Piece {
    std::span<std::byte> data;
    Staging::Chunk chunk;
    std::size_t copies;
  };
  std::vector<Piece> data_;
  std::size_t replied_reads_ = 0;
  std::size_t replied_pieces_ = 0;
  std::vector<IoCounters::Answered> answered_reads_;  // as many as reads_
  std::vector<IoCounters::Answered> non_read_requests_;
  std::vector<iovec> wire_;
  std::vector<Staging::Chunk> chunks_;  // not lent yet; the last one is being filled
  std::span<std::byte> read_headers_;   // free ones, in the first chunk
  std::size_t chunk_used_ = Staging::kDataBytes;
  std::vector<std::byte> other_headers_;
};

}  // namespace vramswap
