// Serves the requests that a connection has sent, in two alternating batches: an I/O thread
// receives or answers one batch while the store copies the other. Allocates nothing after
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
#include "daemon/worker/io/served_segment.hpp"
#include "daemon/worker/io/staging.hpp"
#include "daemon/worker/store/store.hpp"

namespace vramswap {

// The worker's exit status when a store fails. The worker does not answer the requests that it has
// received, because an error reply would reach processes as SIGBUS. The kernel resends the requests
// to the next worker.
inline constexpr int kExitStoreFailed = 10;

class Pipeline {
 public:
  // For the calling thread. The references outlive the pipeline. `requests_served` counts every
  // answered request, including those answered with an error.
  static Result<std::unique_ptr<Pipeline>> create(Staging& staging, const Copiers& copiers,
                                                  std::atomic<std::uint64_t>& requests_served,
                                                  IoCounters& counters);

  // Receives and serves what the socket holds. Returns when every received request is finished, and
  // says how the connection has ended, if it has. `one_message`: receives no byte beyond the end of
  // the message that was received in part before; there must be one.
  std::optional<ConnectionEnd> serve(Connection& connection, bool one_message);
  // Serves READs that are waiting for staging memory. Returns the same as serve().
  std::optional<ConnectionEnd> serve_waiting_reads(Connection& connection);

 private:
  using End = std::optional<ConnectionEnd>;

  Pipeline(Staging& staging, const Copiers& copiers, std::atomic<std::uint64_t>& requests_served,
           IoCounters& counters, Claimant first, Claimant second, ReplySender sender);

  End dispatch(Connection& connection, std::size_t received);
  End start(Connection& connection);
  End finish(Connection& connection, Batch& batch, bool answer);
  End finish_all(Connection& connection, End end);
  // All batches that are under way belong to one connection, and so use one copier.
  Copier& copier_for(const Connection& connection) const {
    return *copiers_[static_cast<std::size_t>(connection.segment.store->place())];
  }
  void count(std::span<const IoCounters::Answered> answered);
  Result<void> answer_reads(Connection& connection, Batch& batch, bool answer);
  Result<void> answer_non_reads(Connection& connection, Batch& batch);

  Staging& staging_;
  const Copiers& copiers_;
  std::atomic<std::uint64_t>& requests_served_;
  IoCounters& counters_;
  std::array<Batch, Copier::kSlots> batches_;
  // The batch and the receive area to use next. They are free; the other ones may be in use.
  unsigned turn_ = 0;
  unsigned area_ = 0;
  ReplySender sender_;
};

}  // namespace vramswap
