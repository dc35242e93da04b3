// Keeps a WRITE that the kernel has given up from landing on top of a newer one.
//
// When a request is not answered in time, the kernel (nbd_xmit_timeout) shuts its socket down, and
// only then sends it again over another socket of the device, whose I/O thread B may apply it, and
// a newer WRITE of the page after it, while the first thread A still holds what it has received. So
// who changes pages claims them first, and between the claim and the change looks whether its
// socket has been shut down. For a request that A has and B gets again, one of two things is true:
// - A's look sees the shutdown, and A drops the request;
// - A's look came before the shutdown. Then A's claim came before it, too, and so before the
// request
//   was sent again and B tried to claim the page: B waits until A has released it, and A's bytes
//   lie under B's.
// It does not matter how long A is stopped, or where.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "daemon/base/error.hpp"

namespace vramswap {

// A batch's name in the claims: one of 255 in the process, free again when this is destroyed.
class Claimant {
 public:
  // Fails where all are taken.
  static Result<Claimant> create();
  Claimant(Claimant&& other) noexcept : id_(std::exchange(other.id_, 0)) {}
  Claimant& operator=(Claimant&&) = delete;
  ~Claimant();

  std::uint8_t id() const { return id_; }

 private:
  explicit Claimant(std::uint8_t id) : id_(id) {}

  std::uint8_t id_;  // 0: moved from
};

// The claims to a segment's pages, one byte a page. Pages [first, first + count) must exist.
class WriteFence {
 public:
  explicit WriteFence(std::uint64_t page_count)
      : owners_(std::make_unique<std::atomic<std::uint8_t>[]>(page_count)) {}

  // False: somebody else has one of the pages; some of the others may be claimed. Pages that the
  // claimant has already are no obstacle. After success it sees what earlier owners did to them.
  bool claim(std::uint64_t first, std::uint64_t count, const Claimant& claimant);
  // Whether anybody has one of the pages.
  bool any_claimed(std::uint64_t first, std::uint64_t count) const;
  // Frees those of the pages that the claimant has.
  void release(std::uint64_t first, std::uint64_t count, const Claimant& claimant);

 private:
  static constexpr std::uint8_t kNobody = 0;
  std::unique_ptr<std::atomic<std::uint8_t>[]> owners_;
};

// Whether the other side has shut the connection down. A call of the kernel's, so that after a
// claim (an atomic read-modify-write, sequentially consistent) it looks later than that.
bool peer_has_shut_down(int socket);

}  // namespace vramswap
