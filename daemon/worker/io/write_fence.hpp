// Keeps a WRITE that the kernel has timed out from overwriting a newer WRITE of the same page.
//
// When a request is not answered in time, the kernel (nbd_xmit_timeout) first shuts its socket
// down, and then resends the request over another socket of the device. The I/O thread of that
// socket, thread B, may apply it, and then a newer WRITE of the page, while the first I/O thread,
// thread A, still holds the request that it received.
//
// So a thread claims pages before it changes them. Between the claim and the change it checks
// whether its socket has been shut down. For a request that both A and B have received there are
// two cases:
// - A's check comes after the shutdown. A sees it and drops the request.
// - A's check comes before the shutdown. A's claim came before the check, so it also came before
// the
//   kernel resent the request and B tried to claim the page. B waits until A has released the page,
//   and then overwrites A's bytes.
// It does not matter where A is delayed, or for how long.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "daemon/base/error.hpp"

namespace vramswap {

// Identifies a batch in the claims. There are 255 in a process; the destructor frees the id.
class Claimant {
 public:
  // Fails if all are in use.
  static Result<Claimant> create();
  Claimant(Claimant&& other) noexcept : id_(std::exchange(other.id_, 0)) {}
  Claimant& operator=(Claimant&&) = delete;
  ~Claimant();

  std::uint8_t id() const { return id_; }

 private:
  explicit Claimant(std::uint8_t id) : id_(id) {}

  std::uint8_t id_;  // 0: moved from
};

// How long to wait before trying again to claim pages that another thread is writing: about the
// time of a copy.
inline constexpr std::chrono::microseconds kClaimPause{50};

// The claims to the pages of a segment, one byte per page. Pages [first, first + count) must exist.
class WriteFence {
 public:
  explicit WriteFence(std::uint64_t page_count)
      : owners_(std::make_unique<std::atomic<std::uint8_t>[]>(page_count)) {}

  // False: another claimant holds one of the pages; some of the other pages may be claimed now. A
  // page that the claimant holds already counts as claimed. After success, the claimant sees
  // everything that earlier owners wrote to the pages.
  bool claim(std::uint64_t first, std::uint64_t count, const Claimant& claimant);
  // Whether any claimant holds one of the pages.
  bool any_claimed(std::uint64_t first, std::uint64_t count) const;
  // Releases those of the pages that the claimant holds.
  void release(std::uint64_t first, std::uint64_t count, const Claimant& claimant);

 private:
  static constexpr std::uint8_t kNobody = 0;
  std::unique_ptr<std::atomic<std::uint8_t>[]> owners_;
};

// Whether the peer has shut the connection down. This is a system call, so after a claim (an atomic
// read-modify-write, sequentially consistent) the check really happens after the claim.
bool peer_has_shut_down(int socket);

}  // namespace vramswap
