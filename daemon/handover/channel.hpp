// Packets between supervisor and worker: a text and file descriptors, over a SOCK_SEQPACKET pair.
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
};

inline constexpr std::size_t kMaxPacketBytes = 64 << 10;
inline constexpr std::size_t kMaxPacketFds = 128;  // the kernel's SCM_MAX_FD is 253

// Both ends, CLOEXEC.
Result<std::pair<UniqueFd, UniqueFd>> make_channel();

// EMSGSIZE: the text is empty or too long, or there are too many descriptors.
Result<void> send_packet(int channel, std::string_view text, std::span<const int> fds = {});

// Waits unless the channel is non-blocking: then EAGAIN. Nothing at the end of the channel.
// EMSGSIZE: the packet was longer than that, or this process may open no more descriptors; the
// packet is gone, the channel goes on.
Result<std::optional<Packet>> receive_packet(int channel);

}  // namespace vramswap
