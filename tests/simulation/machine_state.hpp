// What the simulated machine is like at the moment: its memory, its card, and the faults that are
// in store for the next calls.
#pragma once

#include <cerrno>
#include <cstdint>
#include <optional>

#include "daemon/supervisor/machine/clock.hpp"

namespace vramswap::simulation {

using TimePoint = Clock::TimePoint;

inline constexpr std::uint64_t kWorkerBytes = 1 << 20;  // of memory that a worker takes

struct Memory {
  static constexpr std::uint64_t kTotalBytes = 8ULL << 30;
  static constexpr std::uint64_t kPlentyBytes = 4ULL << 30;

  // What is left when neither workers nor the reserve take any.
  std::uint64_t free_bytes = kPlentyBytes;
  std::uint64_t reserve_bytes = 0;
  std::uint64_t workers_bytes = 0;

  std::uint64_t available() const {
    const std::uint64_t taken = reserve_bytes + workers_bytes;
    return free_bytes > taken ? free_bytes - taken : 0;
  }
};

struct Card {
  TimePoint away_until{};  // no worker can start, no memory can be imported
  TimePoint full_until{};  // other programs take all memory that nobody holds
  // Imports fail with this code, though the memory is there.
  TimePoint imports_fail_until{};
  int import_code = 0;
};

// What a worker does with a request.
struct MessageFault {
  enum class Kind {
    dies_before,  // it takes effect
    dies_in,      // it has taken effect, and nobody is told
    dies_after,   // the answer
    late,         // it answers after `time`
    error,        // it answers that it has failed
    wrong,        // it gives the answer to another request
    stops,        // it stands still for `time` before it looks at the request
  };
  Kind kind = Kind::dies_before;
  std::chrono::nanoseconds time{};
};

// What a netlink call does.
struct NetlinkFault {
  int code = 0;
  bool takes_effect = false;  // only the reply is lost
};

struct Faults {
  std::optional<MessageFault> message;
  std::optional<MessageFault> move;  // of the next message of a move, or to leave the card
  std::optional<NetlinkFault> netlink;
  int receive_error = 0;         // EMSGSIZE: the packet is lost. Others: it comes the next time
  int send_error = 0;            // the packet is not sent
  unsigned refused_sockets = 0;  // that many RECONFIGUREs keep none of their sockets
  int swap_call_error = 0;       // of the next call on a device, such as swapon
  bool swap_off_is_slow = false;
  TimePoint no_descriptors_until{};
  TimePoint no_processes_until{};  // fork fails for want of memory

  // An errno, or 0.
  int error_of_new_process(TimePoint now) const {
    if (no_descriptors_until > now) return EMFILE;
    return no_processes_until > now ? EAGAIN : 0;
  }
};

}  // namespace vramswap::simulation
