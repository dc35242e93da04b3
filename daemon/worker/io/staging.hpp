// The memory of one I/O thread: areas that requests are received into, and chunks that READ replies
// are built in. The pages of a reply are lent to the socket (vmsplice), not copied, so a chunk may
// be reused only after the peer has read it (release_read_chunks). All of it is one memfd mapping,
// so that it can be registered with the GPU in one call.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "daemon/base/error.hpp"
#include "daemon/base/unique_fd.hpp"
#include "daemon/worker/io/transmission.hpp"

namespace vramswap {

class Staging {
 public:
  using Chunk = std::uint16_t;

  // A chunk is a page of reply headers and 16 pages of data. The data of chunks with consecutive
  // numbers is adjacent.
  static constexpr std::size_t kHeaderBytes = kPageBytes;
  static constexpr std::size_t kHeadersPerChunk = kHeaderBytes / transmission::kReplyBytes;
  static constexpr std::size_t kDataBytes = 16 * kPageBytes;
  // One connection may hold twice the longest READ. The thread has twice that, so that a connection
  // whose peer reads slowly leaves enough for the others.
  static constexpr std::size_t kChunksPerConnection =
      2 * transmission::kMaxTransferBytes / kDataBytes;
  static constexpr std::size_t kChunkCount = 2 * kChunksPerConnection;
  static_assert(kChunkCount == 64, "a bit for each in a word");
  // Used alternately: the thread receives into one while the GPU reads the other.
  static constexpr unsigned kReceiveAreas = 2;
  // Each holds half of the longest WRITE; a WRITE is stored as it arrives.
  static constexpr std::size_t kReceiveBytes = transmission::kMaxTransferBytes / 2 + 2 * kPageBytes;

  static Result<Staging> create();
  Staging(Staging&& other) noexcept;
  Staging& operator=(Staging&&) = delete;
  ~Staging();

  std::span<std::byte> memory() const { return memory_; }
  std::span<std::byte> receive_area(unsigned area) const {
    return memory_.subspan(area * kReceiveBytes, kReceiveBytes);
  }
  std::span<std::byte> headers(Chunk chunk) const;
  std::span<std::byte> data(Chunk chunk) const;

  std::size_t free_chunks() const { return static_cast<std::size_t>(std::popcount(free_)); }
  // Returns the free chunk with the lowest number; there must be a free one. Few chunks are in use
  // most of the time, so they stay in the processor's caches, and consecutive calls mostly return
  // adjacent chunks.
  Chunk allocate();
  void release(Chunk chunk);

 private:
  explicit Staging(std::span<std::byte> memory);

  std::span<std::byte> memory_;  // owned: unmapped by the destructor
  std::uint64_t free_ = ~std::uint64_t{0};
};

}  // namespace vramswap
