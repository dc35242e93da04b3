#include "daemon/handover/channel.hpp"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace vramswap {

Result<std::pair<UniqueFd, UniqueFd>> make_channel() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    return fail_errno("worker channel", "socketpair", errno);
  }
  return std::pair{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

Result<void> send_packet(int channel, std::string_view text, std::span<const int> fds) {
  if (text.empty() || text.size() > kMaxPacketBytes || fds.size() > kMaxPacketFds) {
    return fail_errno("worker channel", "packet size check", EMSGSIZE);
  }
  iovec data{const_cast<char*>(text.data()), text.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxPacketFds * sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(header), fds.data(), fds.size_bytes());
  }
  if (sendmsg(channel, &message, MSG_NOSIGNAL) < 0) {
    return fail_errno("worker channel", "sendmsg", errno);
  }
  return {};
}

Result<std::optional<Packet>> receive_packet(int channel) {
  std::string text(kMaxPacketBytes, '\0');
  iovec data{text.data(), text.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxPacketFds * sizeof(int))];
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t bytes = recvmsg(channel, &message, MSG_CMSG_CLOEXEC);
  // The other end was closed with packets of ours unread. The kernel reports that once, before the
  // packets that the other end had sent.
  if (bytes < 0 && errno == ECONNRESET) bytes = recvmsg(channel, &message, MSG_CMSG_CLOEXEC);
  if (bytes < 0) return fail_errno("worker channel", "recvmsg", errno);
  Packet packet;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
      packet.fds.emplace_back(fd);
    }
  }
  if (bytes == 0) return std::nullopt;
  if (message.msg_flags & MSG_CTRUNC) {
    packet.fds.clear();
    packet.lacks_fds = true;
  }
  if (message.msg_flags & MSG_TRUNC) {
    return fail_errno("worker channel", "a packet was cut short", EMSGSIZE);
  }
  text.resize(static_cast<std::size_t>(bytes));
  packet.text = std::move(text);
  return packet;
}

Error lacks_fds_error() {
  return {
      "worker channel: descriptors that came with a message could not be opened: the process has "
      "too many open, or SELinux or AppArmor forbids it (see its log)",
      EMSGSIZE};
}

}  // namespace vramswap
