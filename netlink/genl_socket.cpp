#include "netlink/genl_socket.hpp"

#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <netlink/genl/ctrl.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <sys/socket.h>

#include <cerrno>

#include "netlink/error.hpp"

namespace vramswap::netlink {

void GenlSocket::Free::operator()(nl_sock* handle) const noexcept {
  nl_socket_free(handle);
}

std::expected<GenlSocket, int> GenlSocket::open() {
  GenlSocket socket(nl_socket_alloc());
  if (!socket.handle_) return std::unexpected(ENOMEM);
  // nl_connect() asks for SOCK_CLOEXEC and binds to a port of its own.
  if (int rc = nl_connect(socket.handle_.get(), NETLINK_GENERIC); rc < 0)
    return std::unexpected(errno_from_libnl(rc));
  // libnl asks for 32 KiB, less than the kernel's default. netlink_sendmsg() refuses a request that
  // does not fit into the send buffer, and a NACK repeats the whole request. The kernel limits
  // these sizes to net.core.wmem_max and rmem_max.
  constexpr int kBufferBytes = 1024 * 1024;
  if (int rc = nl_socket_set_buffer_size(socket.handle_.get(), kBufferBytes, kBufferBytes); rc < 0)
    return std::unexpected(errno_from_libnl(rc));
  const int on = 1;
  if (setsockopt(socket.fd(), SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on) < 0)
    return std::unexpected(errno);
  return socket;
}

std::expected<uint16_t, int> GenlSocket::resolve_family(const char* family) {
  const int id = genl_ctrl_resolve(handle_.get(), family);
  if (id < 0) return std::unexpected(errno_from_libnl(id));
  return static_cast<uint16_t>(id);
}

std::expected<void, int> GenlSocket::send(std::span<const std::byte> message) {
  const sockaddr_nl kernel{.nl_family = AF_NETLINK, .nl_pad = 0, .nl_pid = 0, .nl_groups = 0};
  const ssize_t sent = sendto(fd(), message.data(), message.size(), 0,
                              reinterpret_cast<const sockaddr*>(&kernel), sizeof kernel);
  if (sent < 0) return std::unexpected(errno);
  return {};  // netlink takes a datagram whole or not at all
}

std::expected<std::vector<std::byte>, int> GenlSocket::receive() {
  for (;;) {
    // A NACK repeats the request, so it has any length. Ask for it before reading.
    const ssize_t length = recv(fd(), nullptr, 0, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);
    if (length < 0) return std::unexpected(errno);
    std::vector<std::byte> datagram(static_cast<size_t>(length));
    sockaddr_nl sender{};
    socklen_t sender_size = sizeof sender;
    const ssize_t received = recvfrom(fd(), datagram.data(), datagram.size(), MSG_DONTWAIT,
                                      reinterpret_cast<sockaddr*>(&sender), &sender_size);
    if (received < 0) return std::unexpected(errno);
    // Only the kernel has port 0; a privileged process could send to ours as well.
    if (sender.nl_pid != 0) continue;
    datagram.resize(static_cast<size_t>(received));
    return datagram;
  }
}

int GenlSocket::fd() const {
  return nl_socket_get_fd(handle_.get());
}

uint32_t GenlSocket::port() const {
  return nl_socket_get_local_port(handle_.get());
}

uint32_t GenlSocket::next_sequence() {
  return nl_socket_use_seq(handle_.get());
}

}  // namespace vramswap::netlink
