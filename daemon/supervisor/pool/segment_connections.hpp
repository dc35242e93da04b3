// The connections between the kernel's device and the worker of one segment: made when the device
// is, and restored one by one when the kernel drops them or the worker dies.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "daemon/handover/messages.hpp"
#include "daemon/supervisor/machine/machine.hpp"
#include "daemon/supervisor/pool/gate.hpp"
#include "daemon/supervisor/pool/worker_slot.hpp"

namespace vramswap {

class SegmentConnections {
 public:
  // One connection for each of `count` I/O threads. `identifier` is the backend identifier of the
  // segment's device.
  SegmentConnections(Machine& machine, WorkerSlot& slot, std::uint32_t segment, unsigned count,
                     std::string identifier);

  // A new device with all its connections. Its index. A device that the kernel has made is used
  // also where its answer was lost.
  awaitable<Result<std::uint32_t>> connect(std::uint64_t size_bytes,
                                           std::chrono::seconds reconnect_timeout);
  // Offers fresh sockets in the place of dead ones, once. An error: a thread is still without a
  // connection. The kernel drops sockets that come before it has noticed that the old ones are
  // dead, and says nothing.
  awaitable<Result<void>> offer(std::uint32_t index);
  // The same again and again, for a second.
  awaitable<Result<void>> restore(std::uint32_t index);

  // How long the kernel queues I/O while no connection is there.
  Result<void> set_dead_timeout(std::uint32_t index, std::chrono::seconds timeout) const;
  // Takes the device away. It carries no swap.
  awaitable<Result<void>> disconnect(std::uint32_t index);

  // The worker is dead, and its ends of the sockets with it.
  void lose_all();
  // False: the kernel never took this connection, or it has been replaced.
  bool lose(std::uint32_t connection);
  // A connection that a worker of an earlier supervisor serves. An error: there is no such thread.
  Result<void> adopt(const messages::ConnectionName& connection);
  // Forgets those that the worker does not have: `open` are those that it has.
  void compare(const std::vector<messages::ConnectionName>& open);

  bool are_complete() const { return unconnected_threads().empty(); }
  bool is_any_there() const { return unconnected_threads().size() < connections_.size(); }
  // The kernel regards the device as not connected: somebody else has disconnected it. Its pages
  // cannot be read until the kernel takes sockets for it again, which it is offered in vain.
  bool are_refused() const { return are_refused_ && !are_complete(); }
  // Why the last offer was not enough; empty: all are there.
  const std::string& problem() const { return problem_; }
  const std::string& identifier() const { return identifier_; }

 private:
  std::vector<unsigned> unconnected_threads() const;
  awaitable<Result<std::vector<messages::ConnectionName>>> serve(
      const std::vector<UniqueFd>& sockets, std::vector<unsigned> threads);
  awaitable<Result<void>> offer_sockets(std::uint32_t index);
  std::optional<std::uint32_t> find_device() const;

  Machine& machine_;
  WorkerSlot& slot_;
  const std::uint32_t segment_;
  const std::string identifier_;
  // By I/O thread, the id of the connection that the kernel has taken; 0: none.
  std::vector<std::uint32_t> connections_;
  std::uint32_t last_id_ = 0;
  // Counts the workers that have died: what one has served, the next one does not.
  unsigned lost_workers_ = 0;
  std::string problem_;
  bool are_refused_ = false;
  Gate restoring_;  // one at a time
};

}  // namespace vramswap
