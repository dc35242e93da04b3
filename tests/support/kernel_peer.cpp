#include "tests/support/kernel_peer.hpp"

#include <endian.h>
#include <fcntl.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

namespace vramswap::load {
namespace {

constexpr std::uint32_t kReplyMagic = 0x67446698;

bool send_all(int socket, const void* data, std::size_t bytes, int flags) {
  const auto* next = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t sent = send(socket, next, bytes, flags | MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    next += sent;
    bytes -= static_cast<std::size_t>(sent);
  }
  return true;
}

bool receive_all(int socket, void* data, std::size_t bytes) {
  auto* next = static_cast<char*>(data);
  while (bytes > 0) {
    const ssize_t received = recv(socket, next, bytes, MSG_WAITALL);
    if (received < 0 && errno == EINTR) continue;
    if (received <= 0) return false;
    next += received;
    bytes -= static_cast<std::size_t>(received);
  }
  return true;
}

}  // namespace

std::array<std::byte, 28> encode(const RequestHeader& header) {
  std::array<std::byte, 28> bytes;
  auto* next = bytes.data();
  const auto put = [&next](auto value) {
    std::memcpy(next, &value, sizeof value);
    next += sizeof value;
  };
  put(htobe32(header.magic));
  put(htobe16(header.flags));
  put(htobe16(static_cast<std::uint16_t>(header.command)));
  put(header.cookie);
  put(htobe64(header.offset));
  put(htobe32(header.length));
  return bytes;
}

bool send_header(int socket, const RequestHeader& header) {
  const auto bytes = encode(header);
  return send_all(socket, bytes.data(), bytes.size(),
                  header.command == Command::write ? MSG_MORE : 0);
}

bool send_page(int socket, const Page& page, bool more) {
  return send_all(socket, page.data(), sizeof page, more ? MSG_MORE : 0);
}

std::optional<ReplyHeader> receive_reply(int socket) {
  struct {
    std::uint32_t magic;
    std::uint32_t error;
    std::uint64_t cookie;
  } wire;
  static_assert(sizeof wire == 16);
  if (!receive_all(socket, &wire, sizeof wire)) return std::nullopt;
  if (be32toh(wire.magic) != kReplyMagic) return std::nullopt;
  return ReplyHeader{be32toh(wire.error), wire.cookie};
}

bool receive_page(int socket, Page& page) {
  return receive_all(socket, page.data(), sizeof page);
}

std::pair<UniqueFd, UniqueFd> make_connection() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    throw std::runtime_error("socketpair failed");
  }
  fcntl(ends[1], F_SETFL, O_NONBLOCK);
  // Without privileges net.core.wmem_max is the limit, and a long reply waits for its reader.
  constexpr int kSendBufferBytes = 8 << 20;
  if (setsockopt(ends[1], SOL_SOCKET, SO_SNDBUFFORCE, &kSendBufferBytes, sizeof(int)) != 0) {
    setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &kSendBufferBytes, sizeof(int));
  }
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

}  // namespace vramswap::load
