// How an I/O thread serves what a connection has sent: two batches in turn, so that one is
// received, or answered, while the store is at work on the other. Allocates nothing after
// construction.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "daemon/base/error.hpp"
#include "daemon/handover/connection_end.hpp"
#include "daemon/worker/io/batch.hpp"
#include "daemon/worker/io/io_counters.hpp"
#include "daemon/worker/io/reply_sender.hpp"
#include "daemon/worker/io/segment.hpp"
#include "daemon/worker/io/staging.hpp"
#include "daemon/worker/store/store.hpp"

namespace vramswap {

// The worker's exit status when a store fails. It does not answer the requests at hand: the kernel
// sends them again to the worker that follows, while an error would reach processes as SIGBUS.
inline constexpr int kExitStoreFailed = 10;

class Pipeline {
 public:
  // For the calling thread; the references outlive it. `requests_served` counts what is answered,
  // errors too.
  static Result<std::unique_ptr<Pipeline>> create(Staging& staging, Copier& copier,
                                                  std::atomic<std::uint64_t>& requests_served,
                                                  IoCounters& counters);

  // Receives and serves what there is; returns when all that was taken is finished. How the
  // connection ends, if it does. `one_message`: takes not a byte beyond the message whose beginning
  // was received, which there is.
  std::optional<ConnectionEnd> serve(Connection& connection, bool one_message);
  // Serves READs that have waited for staging memory.
  std::optional<ConnectionEnd> serve_waiting_reads(Connection& connection);

 private:
  using End = std::optional<ConnectionEnd>;

  Pipeline(Staging& staging, Copier& copier, std::atomic<std::uint64_t>& requests_served,
           IoCounters& counters, Claimant first, Claimant second, ReplySender sender);

  End take(Connection& connection, std::size_t received);
  End start(Connection& connection);
  End finish(Connection& connection, Batch& batch, bool answer);
  End finish_all(Connection& connection, End end);
  void count(std::span<const IoCounters::Answered> answered);
  Result<void> answer_reads(Connection& connection, Batch& batch, bool answer);
  Result<void> answer_others(Connection& connection, Batch& batch);

  Staging& staging_;
  Copier& copier_;
  std::atomic<std::uint64_t>& requests_served_;
  IoCounters& counters_;
  std::array<Batch, Copier::kSlots> batches_;
  // Which batch, and which receive area, is next: neither is in use, the other one may be.
  unsigned turn_ = 0;
  unsigned area_ = 0;
  ReplySender sender_;
};

}  // namespace vramswap
