// The work that one wake-up brings: the complete requests among the received bytes, done as one
// batch of copies and answered as one batch of replies. Allocates nothing after construction.
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
  // Reply headers of a batch share the header page of its first chunk.
  static constexpr std::size_t kMaxReplies = Staging::kHeadersPerChunk;

  Batch(Staging& staging, Claimant claimant);

  enum class Stop {
    need_bytes,  // all complete requests were taken
    batch_full,  // run it, clear it, then collect again
    disconnect,  // the other side said good-bye: run what was taken, then close
    broken,      // the stream can not be trusted: likewise
  };
  struct Collected {
    std::size_t bytes;  // consumed
    Stop stop;
  };
  // Takes requests of `connection` from `bytes`, which stay in place until `run` has returned.
  // READs without staging memory are put aside; a later call takes them first.
  Collected collect(Connection& connection, std::span<std::byte> bytes);

  enum class Outcome {
    done,      // every WRITE that was taken is in the store, and the page map says so
    given_up,  // the kernel has dropped the connection: nothing was changed, nothing may be
               // answered
  };
  // Moves the data and notes it in the page map. Waits where another thread is changing the same
  // pages, which the kernel lets happen only to requests that it has given up (write_fence.hpp).
  // Failure is the store's.
  Result<Outcome> run(Connection& connection, Copier& copier);

  bool has_replies() const { return !replies_.empty(); }
  std::size_t reply_count() const { return replies_.size(); }
  // Headers and data in the order of the wire. If `lends`, they lie in chunks that belong to the
  // socket from now on (they are on connection.lent); if not, in memory of the batch.
  struct Wire {
    std::span<iovec> pieces;
    bool lends;
  };
  Wire replies();

  void clear();

 private:
  struct Reply {
    std::uint64_t cookie;
    std::uint32_t error;
    std::size_t first_piece;  // of data, in data_
    std::size_t piece_count;
  };
  struct Change {
    std::uint64_t first_page;
    std::uint64_t page_count;
    PageState state;  // afterwards: valid by a WRITE, empty by a TRIM
  };

  std::size_t take_payload(Connection& connection, std::span<std::byte> bytes);
  void take_waiting_reads(Connection& connection);
  // False: no staging for it now; nothing was taken.
  bool take_read(Connection& connection, const transmission::Request& request);
  void stage(Connection& connection, std::uint64_t offset, std::span<std::byte> piece);
  void claim_pages(WriteFence& fence);
  void release_pages(WriteFence& fence);
  void reply(std::uint64_t cookie, std::uint32_t error) {
    replies_.push_back({cookie, error, 0, 0});
  }

  Staging& staging_;
  const Claimant claimant_;
  std::vector<Copy> writes_;
  // In the order of the wire.
  std::vector<Change> changes_;
  bool trims_ = false;
  std::vector<Copy> reads_;
  std::vector<std::span<std::byte>> data_;
  std::vector<Reply> replies_;
  std::vector<iovec> wire_;
  // The chunk being filled, and how much of it is; the first one holds the reply headers.
  bool has_chunk_ = false;
  Staging::Chunk first_chunk_ = 0;
  Staging::Chunk chunk_ = 0;
  std::size_t chunk_used_ = Staging::kDataBytes;
  std::vector<std::byte> own_headers_;
};

}  // namespace vramswap
