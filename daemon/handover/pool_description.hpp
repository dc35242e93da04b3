// What a supervisor must know to take over a pool. The workers keep it for the next supervisor, and
// so does systemd's store of descriptors.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/error.hpp"
#include "daemon/control/protocol.hpp"
#include "daemon/handover/messages.hpp"

namespace vramswap {

struct PoolDescription {
  struct Device {
    messages::Start start;
    StoreDeviceInfo info;
    std::uint64_t worker_bytes = 0;
    unsigned restarts = 0;
  };
  struct Segment {
    std::uint32_t id = 0;
    std::uint32_t device = 0;  // index into `devices`
    std::uint64_t size_bytes = 0;
    int priority = 0;
    unsigned generation = 0;          // how often the store's content was lost
    std::uint64_t lost_pages = 0;     // in all, with the content of the store
    std::uint64_t corrupt_pages = 0;  // see PageMap::corrupt_count
    std::int64_t lost_at = 0;         // when last, seconds since the epoch; 0: never
    // N of its device /dev/nbdN; -1: it had none when this was written.
    std::int64_t nbd_index = -1;
    // Of the queue of that device while no page is lost, in bytes.
    std::uint64_t request_limit = 0;
    // It was given up to free its store, and comes back. See Segment::lend.
    bool is_lent = false;
  };
  std::uint64_t sequence = 0;  // the later of two descriptions has the higher number
  std::uint32_t pool_id = 0;
  control::UpRequest request;
  unsigned connections = 1;
  bool is_going_down = false;  // a `down` had begun when this was written
  std::vector<Device> devices;
  std::vector<Segment> segments;
  std::vector<control::Loan> loans;
};

std::string encode(const PoolDescription& description);
// A description of another version (messages::kVersion) is an error that names it.
Result<PoolDescription> decode_pool_description(std::string_view text);

}  // namespace vramswap
