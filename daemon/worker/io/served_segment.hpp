// A segment as the worker sees it: its store, the state of its pages, and its connections.
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

// The I/O threads use it while `open_connections` is above 0, the control thread otherwise.
struct ServedSegment {
  // `map` takes the place of `pages`.
  void set_pages(PageMap map);
  // A page has wrong bytes. The caller has claimed it. Returns how often that has happened.
  std::uint64_t lose_corrupt(std::uint64_t page);
  // Pages of the segment had wrong bytes, so there may be more. So no header is sent before all
  // bytes of its READ were checked: a header that promises wrong bytes costs a connection, and a
  // second until the kernel resends the READ.
  bool is_suspect() const { return pages->corrupt_count() > 0; }
  // Call it before pages get another state; the caller has claimed them. Costs one load while no
  // page is lost.
  void leave_states(std::uint64_t first, std::uint64_t count) {
    if (lost_pages.load(std::memory_order_relaxed) != 0) count_found_again(first, count);
  }

  std::uint32_t id = 0;
  std::unique_ptr<Store> store;
  std::optional<PageMap> pages;
  std::optional<WriteFence> fence;  // created with the first connection
  std::atomic<unsigned> open_connections = 0;
  std::atomic<std::uint64_t> lost_pages = 0;  // that are `lost` in the page map
  // News that the supervisor does not have yet. It gets urgent news at once: the first page is
  // lost, or the last lost page was written again. It hears of further lost pages within a second,
  // so a store whose bytes are all wrong does not flood it.
  std::atomic<bool> has_urgent_news = false;
  std::atomic<bool> has_news = false;

 private:
  void count_found_again(std::uint64_t first, std::uint64_t count);
};

// One socket of an NBD device of the kernel. One I/O thread owns it.
struct Connection {
  Connection(UniqueFd socket, ServedSegment& segment, std::uint32_t id = 0)
      : socket(std::move(socket)), segment(segment), id(id) {
    lent.reserve(Staging::kChunksPerConnection);
    waiting_reads.reserve(kMaxWaitingReads);
  }
  // A queue of the kernel holds 128 requests. It also takes over the requests of connections that
  // have died.
  static constexpr std::size_t kMaxWaitingReads = 1024;

  // A WRITE whose payload has not arrived completely.
  struct PendingWrite {
    transmission::Request request;
    std::uint32_t received_bytes;
    std::uint32_t error;  // if not 0: discard the payload and answer with this
  };

  // Bytes missing to the end of a partly received message; 0 between two messages.
  std::size_t missing_bytes() const {
    if (pending) return pending->request.length - pending->received_bytes - carry_bytes;
    return carry_bytes == 0 ? 0 : transmission::kRequestBytes - carry_bytes;
  }

  UniqueFd socket;
  ServedSegment& segment;
  const std::uint32_t id;  // the supervisor chose it
  std::optional<PendingWrite> pending;
  // The last received bytes that are not served yet: less than a header, or less than a page of a
  // payload.
  std::array<std::byte, kPageBytes> carry;
  std::size_t carry_bytes = 0;
  std::chrono::steady_clock::time_point received_at;  // the time of the last receive call
  // READs that found no staging memory, because the peer has not read earlier replies yet.
  std::vector<transmission::Request> waiting_reads;
  // The I/O thread receives nothing for now. Never set in the middle of a message.
  bool parked = false;
  // Bytes of replies sent so far.
  std::uint64_t sent_bytes = 0;
  // Chunks whose pages the socket may still refer to, in the order in which they were sent.
  struct Lent {
    Staging::Chunk chunk;
    std::uint64_t end;  // value of `sent_bytes` after its last byte
  };
  std::vector<Lent> lent;
  // Chunks allocated for replies that are not sent yet.
  std::size_t unsent_chunks = 0;
};

// Releases the lent chunks that the peer has read. SIOCOUTQ reports at least the length (the
// truesize) of every message that is not read to its end, so all bytes sent before those have been
// read.
void release_read_chunks(Connection& connection, Staging& staging);

}  // namespace vramswap
