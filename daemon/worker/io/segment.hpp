// A segment as the worker sees it: its bytes, what its pages hold, and who is connected to it.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "daemon/base/unique_fd.hpp"
#include "daemon/handover/page_map.hpp"
#include "daemon/worker/io/staging.hpp"
#include "daemon/worker/io/transmission.hpp"
#include "daemon/worker/io/write_fence.hpp"
#include "daemon/worker/store/store.hpp"

namespace vramswap {

// Used by the I/O threads while `open_connections` is above 0; by the control thread otherwise.
struct Segment {
  std::uint32_t id = 0;
  std::unique_ptr<Store> store;
  std::optional<PageMap> pages;
  std::optional<WriteFence> fence;  // made when the first connection is added
  std::atomic<unsigned> open_connections = 0;
};

// One socket of the kernel's device, owned by one I/O thread.
struct Connection {
  Connection(UniqueFd socket_, Segment& segment_, std::uint32_t id_ = 0)
      : socket(std::move(socket_)), segment(segment_), id(id_) {
    lent.reserve(Staging::kChunksPerConnection);
    waiting_reads.reserve(kMaxWaitingReads);
  }
  // A queue of the kernel's holds 128 requests, and takes over those of connections that died.
  static constexpr std::size_t kMaxWaitingReads = 1024;

  // A WRITE whose payload has not arrived in full.
  struct PendingWrite {
    transmission::Request request;
    std::uint32_t received_bytes;
    std::uint32_t error;  // not 0: the payload is drained and this is answered
  };

  // To the end of the message whose beginning was received; 0 between two messages.
  std::size_t missing_bytes() const {
    if (pending) return pending->request.length - pending->received_bytes - carry_bytes;
    return carry_bytes == 0 ? 0 : transmission::kRequestBytes - carry_bytes;
  }

  UniqueFd socket;
  Segment& segment;
  const std::uint32_t id;  // as the supervisor calls it
  std::optional<PendingWrite> pending;
  // The end of what was received last: less than a header, or less than a page of a payload.
  std::array<std::byte, kPageBytes> carry;
  std::size_t carry_bytes = 0;
  std::chrono::steady_clock::time_point received_at;  // what was received last
  // READs that found no staging memory, because earlier replies have not been taken yet.
  std::vector<transmission::Request> waiting_reads;
  // Nothing is received for now; never in the middle of a message.
  bool parked = false;
  // Sent so far, as replies.
  std::uint64_t sent_bytes = 0;
  // Chunks whose pages the socket may still refer to, in the order they were sent in.
  struct Lent {
    Staging::Chunk chunk;
    std::uint64_t end;  // of `sent_bytes`, behind the last byte of it
  };
  std::vector<Lent> lent;
  // Taken for replies that are not sent yet.
  std::size_t unsent_chunks = 0;
};

// Gives back what the other side has read of the lent chunks. Needs no look at who reads, or when:
// SIOCOUTQ counts every message that is not read to its end by at least its length (its truesize),
// so what lies further back than that has been read.
void release_read_chunks(Connection& connection, Staging& staging);

}  // namespace vramswap
