// Packets between supervisor and worker over a SOCK_SEQPACKET pair. A packet is a text and file
// descriptors.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "daemon/base/error.hpp"
#include "daemon/base/unique_fd.hpp"

namespace vramswap {

struct Packet {
  std::string text;
  std::vector<UniqueFd> fds;
  bool lacks_fds = false;  // this process could not open all of them, and so has none
};

// The error for a packet that lacks descriptors. EMSGSIZE, as for a lost packet.
Error lacks_fds_error();

inline constexpr std::size_t kMaxPacketBytes = 64 << 10;
inline constexpr std::size_t kMaxPacketFds = 128;  // the kernel's SCM_MAX_FD is 253

// Returns both ends, close-on-exec.
Result<std::pair<UniqueFd, UniqueFd>> make_channel();

// EMSGSIZE: the text is empty or too long, or there are too many descriptors.
Result<void> send_packet(int channel, std::string_view text, std::span<const int> fds = {});

// Waits for a packet; EAGAIN if the channel is non-blocking and has none. Returns nothing once the
// other end is closed. EMSGSIZE: the text exceeded the limit above; the packet is lost, and the
// channel can still be used.
Result<std::optional<Packet>> receive_packet(int channel);

}  // namespace vramswap
