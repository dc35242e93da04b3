// The replies to the READs of one batch. Each is built in staging chunks, which a Copier fills from
// the store, and which are then lent to the socket. Allocates nothing after construction.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "daemon/base/error.hpp"
#include "daemon/worker/io/io_counters.hpp"
#include "daemon/worker/io/segment.hpp"
#include "daemon/worker/io/staging.hpp"

namespace vramswap {

class ReadReplies {
 public:
  // The headers share the header page of the first chunk.
  static constexpr std::size_t kMaxReplies = Staging::kHeadersPerChunk;
  // next() returns about this much, so that it is sent while the rest is still being copied.
  static constexpr std::size_t kBytesPerSend = 2 * Staging::kDataBytes;

  // `slot` is the Copier slot that copies() is copied in.
  ReadReplies(Staging& staging, unsigned slot);

  enum class Added {
    yes,
    batch_full,  // this READ is better served by the next batch
    no_staging,  // too few chunks are free, or the connection holds too many
  };
  // Allocates chunks for the reply to `request` and plans its copies. Empty pages are filled with
  // zeros at once.
  Added add(Connection& connection, const transmission::Request& request);

  std::size_t count() const { return reads_.size(); }
  // From the store to the chunks. The caller begins them.
  std::span<const Copy> copies() const { return copies_; }
  std::size_t copy_bytes() const { return copy_bytes_; }
  std::span<const IoCounters::Answered> answered() const { return answered_; }

  // The header of the first reply, for sending it ahead of its data. next() then leaves it out.
  std::span<iovec> early_header(Connection& connection);
  // Waits until the data of the next replies is copied, and returns their headers and data in wire
  // order, for ReplySender::lend. From now on their chunks belong to the socket (connection.lent).
  // An empty result means that all replies have been returned. Errors are the store's.
  Result<std::span<iovec>> next(Connection& connection, Copier& copier);

  // Forgets all replies and releases the chunks that were not lent.
  void clear();

 private:
  struct Read {
    std::uint64_t cookie;
    std::size_t first_extent;  // in extents_
    std::size_t extent_count;
  };
  // A part of a reply's data. It ends where its chunk ends.
  struct Extent {
    std::span<std::byte> data;
    Staging::Chunk chunk;
    std::size_t copies;  // how many of copies_ must be done before it is sent
  };

  void stage(const Segment& segment, std::uint64_t offset, std::span<std::byte> extent);
  void add_copy(const Copy& copy);

  Staging& staging_;
  const unsigned slot_;
  Connection* connection_ = nullptr;  // the one that the READs came from
  std::vector<Read> reads_;
  std::vector<IoCounters::Answered> answered_;  // as many as reads_
  std::vector<Extent> extents_;
  std::vector<Copy> copies_;
  std::size_t copy_bytes_ = 0;
  std::vector<Staging::Chunk> chunks_;  // not lent yet; the last one is being filled
  std::size_t chunk_used_ = Staging::kDataBytes;
  std::span<std::byte> headers_;  // the free ones, in the first chunk
  std::array<std::byte, transmission::kReplyBytes> early_header_{};
  bool header_sent_ = false;
  std::size_t replied_reads_ = 0;
  std::size_t replied_extents_ = 0;
  std::vector<iovec> wire_;  // what the last call returned
};

}  // namespace vramswap
