// The replies to the READs of one batch. Each is built in staging chunks, which a Copier fills from
// the store, and which are then lent to the socket. Stored bytes leave only if they match their
// checksums; otherwise the READ gets EIO. Allocates nothing after construction.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "daemon/base/error.hpp"
#include "daemon/worker/io/io_counters.hpp"
#include "daemon/worker/io/served_segment.hpp"
#include "daemon/worker/io/staging.hpp"
#include "daemon/worker/io/write_fence.hpp"

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

  std::size_t count() const { return answered_.size(); }
  // Whether one of the READs is of a page of `request`.
  bool overlap(const transmission::Request& request) const;
  // From the store to the chunks. The caller begins them.
  std::span<const Copy> copies() const { return copies_; }
  std::size_t copy_bytes() const { return copy_bytes_; }
  // Whether a page is one whose WRITE has begun and was never finished, or is under way.
  bool has_changing_pages() const { return has_changing_pages_; }
  std::span<const IoCounters::Answered> answered() const { return answered_; }

  // The header of the first reply, for sending it ahead of its data. next() then leaves it out.
  std::span<iovec> early_header(Connection& connection);
  // Waits until the data of the next replies is copied, and returns their headers and data in wire
  // order, for ReplySender::lend. From now on their chunks belong to the socket (connection.lent).
  // An empty result means that all replies have been returned. Errors are the store's. The batch of
  // `claimant` must have claimed none of the pages.
  Result<std::span<iovec>> next(Connection& connection, Copier& copier, const Claimant& claimant);
  // A READ can be answered neither with its bytes nor with an error: its header promised bytes that
  // turned out to be wrong, or a batch keeps changing its page. The last result of next() must not
  // be sent, and the connection must end: the kernel then sends the READ again.
  bool is_cut_off() const { return is_cut_off_; }

  // Forgets all replies and releases the chunks that were not lent.
  void clear();

 private:
  // A part of a reply's data. It ends where its chunk ends.
  struct Extent {
    std::span<std::byte> data;
    Staging::Chunk chunk;
    std::size_t read;  // in answered_
    bool is_first;     // of its READ
    std::uint64_t first_page;
    std::uint16_t stored_pages;  // a bit a page: its bytes come from the store
    std::size_t copies;          // how many of copies_ must be done before it is sent
  };
  static_assert(Staging::kDataBytes / kPageBytes <= 16, "a bit for each in stored_pages");

  std::uint16_t stage(const ServedSegment& segment, std::uint64_t offset,
                      std::span<std::byte> extent);
  void add_copy(const Copy& copy);
  Result<void> wait_for_copies(std::size_t copies, Copier& copier);
  Result<void> check(std::size_t index, Copier& copier, const Claimant& claimant);
  void add_to_wire(Connection& connection);

  Staging& staging_;
  const unsigned slot_;
  Connection* connection_ = nullptr;            // the one that the READs came from
  std::vector<IoCounters::Answered> answered_;  // the READs
  std::vector<Extent> extents_;
  std::vector<Copy> copies_;
  std::size_t copy_bytes_ = 0;
  std::vector<Staging::Chunk> chunks_;  // not lent yet; the last one is being filled
  std::size_t chunk_used_ = Staging::kDataBytes;
  std::span<std::byte> headers_;  // the free ones, in the first chunk
  std::array<std::byte, transmission::kReplyBytes> early_header_{};
  bool has_changing_pages_ = false;
  bool header_sent_ = false;
  bool is_cut_off_ = false;
  std::size_t done_copies_ = 0;  // of copies_
  std::size_t replied_extents_ = 0;
  std::vector<iovec> wire_;  // what the last call returned
};

}  // namespace vramswap
