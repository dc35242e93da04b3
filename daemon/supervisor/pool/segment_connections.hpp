// The connections between the kernel's device and the worker of one segment: made when the device
// is, and restored one by one when the kernel drops them or the worker dies.
#pragma once

#include <cstdint>
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

  // A new device with all its connections. Its index.
  awaitable<Result<std::uint32_t>> connect(std::uint64_t size_bytes,
                                           std::chrono::seconds reconnect_timeout);
  // Offers fresh sockets in the place of dead ones until the kernel has taken one for each I/O
  // thread. The kernel drops those that come before it has noticed that the old ones are dead, and
  // says nothing.
  awaitable<Result<void>> restore(std::uint32_t index);

  // The worker is dead, and its ends of the sockets with it.
  void lose_all();
  // False: the kernel never took this connection, or it has been replaced.
  bool lose(std::uint32_t connection);
  // A connection that a worker of an earlier supervisor serves. An error: there is no such thread.
  Result<void> adopt(const messages::ConnectionName& connection);

  bool are_complete() const { return unconnected_threads().empty(); }
  const std::string& identifier() const { return identifier_; }

 private:
  std::vector<unsigned> unconnected_threads() const;
  awaitable<Result<std::vector<messages::ConnectionName>>> serve(
      const std::vector<UniqueFd>& sockets, std::vector<unsigned> threads);
  awaitable<Result<void>> offer_sockets(std::uint32_t index);

  Machine& machine_;
  WorkerSlot& slot_;
  const std::uint32_t segment_;
  const std::string identifier_;
  // By I/O thread, the id of the connection that the kernel has taken; 0: none.
  std::vector<std::uint32_t> connections_;
  std::uint32_t last_id_ = 0;
  Gate restoring_;  // one at a time
};

}  // namespace vramswap
