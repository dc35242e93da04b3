// The work that one receive call brings: the complete requests among the received bytes, done as
// one batch of copies in each direction. Allocates nothing after construction.
//
// collect(), start(), then finish_reads() and finish_changes(), then clear(). Between start() and
// finish the store is at work, and so may be another batch of the thread, in the Copier's other
// slot.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "daemon/base/error.hpp"
#include "daemon/worker/segment.hpp"

namespace vramswap {

class Batch {
 public:
  // Headers of replies to READs share the header page of the batch's first chunk.
  static constexpr std::size_t kMaxReplies = Staging::kHeadersPerChunk;

  // `slot` is the Copier's.
  Batch(Staging& staging, Claimant claimant, unsigned slot);

  enum class Stop {
    need_bytes,  // all complete requests were taken
    batch_full,  // finish this one first, then collect again
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
  bool has_work() const { return reply_count() > 0 || has_changes(); }
  bool has_changes() const { return !changes_.empty(); }

  // Waits for the data of the READs.
  Result<void> finish_reads(Copier& copier);
  // Waits until every WRITE that was taken is in the store, and notes it in the page map.
  Result<void> finish_changes(Copier& copier);

  std::size_t reply_count() const { return reads_.size() + other_replies_.size(); }
  // Headers and data in the order of the wire, for ReplySender::lend: they lie in chunks that
  // belong to the socket from now on (they are on connection.lent). May be empty. These and the
  // next are to be sent at once, in the order of the calls.
  std::span<iovec> read_replies(Connection& connection);
  // All others, after finish_changes(); in memory of the batch. May be empty.
  std::span<iovec> other_replies(Connection& connection);

  // Takes back what was not sent.
  void clear();

 private:
  struct Read {
    std::uint64_t cookie;
    std::size_t first_piece;  // of data, in data_
    std::size_t piece_count;
  };
  struct Other {
    std::uint64_t cookie;
    std::uint32_t error;
  };
  struct Change {
    std::uint64_t first_page;
    std::uint64_t page_count;
    PageState state;  // afterwards: valid by a WRITE, empty by a TRIM or a WRITE of zeros
  };

  enum class Taken { yes, no_staging, changing, changing_here };

  // Whether the batch changes one of the request's pages.
  bool changes(const transmission::Request& request) const;
  std::size_t take_payload(std::span<std::byte> bytes);
  void take_pages(std::uint64_t offset, std::span<std::byte> pages);
  void take_waiting_reads(bool others_change);
  Taken take_read(const transmission::Request& request, bool others_change);
  void stage(std::uint64_t offset, std::span<std::byte> piece);
  bool claim_pages();
  void release_pages();

  Staging& staging_;
  const Claimant claimant_;
  const unsigned slot_;
  Connection* connection_ = nullptr;  // whose requests these are
  bool started_ = false;
  std::vector<Copy> to_store_;
  std::vector<Change> changes_;  // in the order of the wire
  std::vector<Copy> to_host_;
  std::vector<Read> reads_;
  std::vector<std::span<std::byte>> data_;
  std::vector<Other> other_replies_;
  std::vector<iovec> wire_;
  std::vector<Staging::Chunk> chunks_;  // the last one is being filled
  std::size_t chunk_used_ = Staging::kDataBytes;
  std::vector<std::byte> other_headers_;
};

}  // namespace vramswap
