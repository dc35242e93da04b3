// What the clients of the control socket may take of the supervisor. Anybody may connect, and what
// a client takes is locked in memory.
//
// Descriptors: each client takes one. All of them together take at most
//     64 clients of root's, 32 of all other users', 1 that came with a reload,
//     1 between accept(2) and its refusal                                        =   98
// To replace all workers at once, for the largest pool, the supervisor needs
//     16 segments x 64 connections x 2 ends, until both ends have their owners   = 2048
//     16 workers that start x 16: channels, pipes, programs, files               =  256
// and it always holds
//     16 workers x 16: process, channel, notes, reserve, driver, stores, maps    =  256
//     the reactor, netlink, signals, the lock, the log, files kept open         <=   64
// The hard limit of a kernel without systemd is 4096, and 4096 - 98 is more than the 2624 of the
// last four lines. A limit may be lower than that: so users other than root get in only with a
// descriptor in the lower half of it, and the upper half is never theirs. The kernel gives the
// lowest that is free.
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>

#include "daemon/control/protocol.hpp"

namespace vramswap {

inline constexpr unsigned kMaxRootClients = 64;
inline constexpr unsigned kMaxUserClients = 32;   // of all users other than root
inline constexpr unsigned kMaxClientsOfUser = 4;  // of one such user

// What one client may take.
struct ClientLimits {
  std::size_t request_bytes;              // with the newline
  std::chrono::nanoseconds request_time;  // from the connection to the whole request
  // From a reply to the moment when the kernel has taken all of it. No value: no limit.
  std::optional<std::chrono::nanoseconds> reply_time;
};

// A `vramswap down` that somebody has stopped takes no progress, and goes on when he lets it: so
// there is no limit for replies. A request is there at once; the limit is for a client that hangs.
inline constexpr ClientLimits kRootLimits{control::kMaxLineBytes, std::chrono::seconds(60),
                                          std::nullopt};
// A request for the status has 30 bytes.
inline constexpr ClientLimits kUserLimits{4096, std::chrono::seconds(5), std::chrono::seconds(5)};

}  // namespace vramswap
