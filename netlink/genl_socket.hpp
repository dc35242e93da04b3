// A generic netlink socket.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <span>
#include <vector>

struct nl_sock;

namespace vramswap::netlink {

/// A socket that is close-on-exec, asks for extended ACKs, and never blocks in receive(). Failures
/// are positive errnos; the caller, which knows the operation, makes an Error of them.
class GenlSocket {
 public:
  [[nodiscard]] static std::expected<GenlSocket, int> open();

  /// ENOENT: no kernel module has registered the family.
  [[nodiscard]] std::expected<uint16_t, int> resolve_family(const char* family);

  [[nodiscard]] std::expected<void, int> send(std::span<const std::byte> message);
  /// The next whole datagram from the kernel. EAGAIN: none waits. ENOBUFS: the kernel dropped some.
  [[nodiscard]] std::expected<std::vector<std::byte>, int> receive();

  int fd() const;
  /// The kernel sends its answers to this port, with the sequence number of the request.
  uint32_t port() const;
  uint32_t next_sequence();

 private:
  struct Free {
    void operator()(nl_sock* handle) const noexcept;
  };
  explicit GenlSocket(nl_sock* handle) : handle_(handle) {}

  std::unique_ptr<nl_sock, Free> handle_;
};

}  // namespace vramswap::netlink
