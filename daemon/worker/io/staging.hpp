// One I/O thread's memory: areas that requests are received into, and chunks that READ replies are
// built in. A reply's pages are lent to the socket (vmsplice), not copied, so a chunk may be
// used again only when the socket has been read empty by the other side (SIOCOUTQ is 0).
// All of it is one memfd mapping, so that a GPU can be given the whole at once.
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

  // A chunk is a page of reply headers and 16 pages of data. Data of chunks whose numbers follow
  // each other does so, too.
  static constexpr std::size_t kHeaderBytes = kPageBytes;
  static constexpr std::size_t kHeadersPerChunk = kHeaderBytes / transmission::kReplyBytes;
  static constexpr std::size_t kDataBytes = 16 * kPageBytes;
  // Twice what one connection may hold, which is twice the longest READ: one connection that is
  // slow to take its replies leaves enough for the others of its thread.
  static constexpr std::size_t kChunksPerConnection =
      2 * transmission::kMaxTransferBytes / kDataBytes;
  static constexpr std::size_t kChunkCount = 2 * kChunksPerConnection;
  static_assert(kChunkCount == 64, "a bit for each in a word");
  // Two, in turn: one is received into while the GPU reads the other.
  static constexpr unsigned kReceiveAreas = 2;
  // Half of the longest WRITE each, which is stored as it arrives.
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
  // The lowest of the free ones, of which there must be one: few are in use most of the time, so
  // they stay in the processor's caches, and those taken one after the other mostly lie so, too.
  Chunk allocate();
  void release(Chunk chunk);

 private:
  explicit Staging(std::span<std::byte> memory);

  std::span<std::byte> memory_;  // owned: unmapped by the destructor
  std::uint64_t free_ = ~std::uint64_t{0};
};

}  // namespace vramswap
