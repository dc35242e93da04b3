// A client that has asked for something.
#pragma once

#include <sys/types.h>

#include <functional>

#include "daemon/base/unique_fd.hpp"
#include "daemon/control/protocol.hpp"
#include "daemon/supervisor/asio.hpp"

namespace vramswap {

// Replies are sent in order; after the client has gone they are dropped.
class Session {
 public:
  virtual ~Session() = default;

  virtual bool is_root() const = 0;
  // Whether the client had this group when it connected.
  virtual bool is_in_group(gid_t) { return false; }
  virtual void send(const control::Reply& reply) = 0;
  // Until all replies are with the client or it has gone.
  virtual awaitable<void> flush() = 0;
  // Calls `closed` once if the client closes its end, or is out of time, before stop_watching().
  virtual void watch(std::function<void()> closed) = 0;
  // Cancels a write in progress as well: flush first.
  virtual void stop_watching() = 0;
  // The connection, for a program that takes this one's place. Empty: there are no descriptors.
  virtual UniqueFd duplicate() = 0;
};

}  // namespace vramswap
