// A segment on each GPU that carries no swap, of a daemon of its own: the pool that may be up has
// no part in it.
#pragma once

#include <utility>
#include <vector>

#include "daemon/base/error.hpp"
#include "daemon/control/protocol.hpp"
#include "swapctl/control_client.hpp"
#include "swapctl/environment.hpp"

namespace vramswap::swapctl {

// They are there while the connection is: if this process dies, the daemon clears and frees them
// and ends. If the daemon dies, its workers serve on until remove() or the next create().
class ScratchSegments {
 public:
  // `request` says what an `up` would make. An error of code EINTR: `interrupt_fd` was readable.
  static Result<ScratchSegments> create(const control::UpRequest& request, int interrupt_fd,
                                        const Environment& environment);

  const std::vector<control::SegmentStatus>& list() const { return list_; }

  // Returns when nothing is left of them. No descriptor of a device may be open.
  Result<void> remove(const Environment& environment);

 private:
  ScratchSegments(ControlClient client, std::vector<control::SegmentStatus> list)
      : client_(std::move(client)), list_(std::move(list)) {}

  ControlClient client_;
  std::vector<control::SegmentStatus> list_;
};

}  // namespace vramswap::swapctl
