// A segment on each GPU that carries no swap. A second daemon serves it; the pool that may be up is
// not used.
#pragma once

#include <utility>
#include <vector>

#include "daemon/base/error.hpp"
#include "daemon/control/protocol.hpp"
#include "swapctl/control_client.hpp"
#include "swapctl/environment.hpp"

namespace vramswap::swapctl {

// The segments last as long as the connection to their daemon. If this process dies, the daemon
// clears and frees them and ends. If the daemon dies, its workers keep serving until remove() or
// the next create().
class ScratchSegments {
 public:
  // `request` is like that of `up`. EINTR: `interrupt_fd` became readable.
  static Result<ScratchSegments> create(const control::UpRequest& request, int interrupt_fd,
                                        const Environment& environment);

  const std::vector<control::SegmentStatus>& list() const { return list_; }

  // Returns when the daemon has freed the segments. The caller must have closed their devices.
  Result<void> remove(const Environment& environment);

 private:
  ScratchSegments(ControlClient client, std::vector<control::SegmentStatus> list)
      : client_(std::move(client)), list_(std::move(list)) {}

  ControlClient client_;
  std::vector<control::SegmentStatus> list_;
};

}  // namespace vramswap::swapctl
