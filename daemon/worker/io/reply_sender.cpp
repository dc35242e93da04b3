#include "daemon/worker/io/reply_sender.hpp"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace vramswap {
namespace {

// 256 pipe slots, for a page or a header each: the most that an unprivileged process may ask for.
constexpr int kPipeBytes = 1 << 20;

// Waits for a peer that is slow to read. The reader is the kernel, which needs no memory of this
// process for it, so the wait ends.
void wait_until_writable(int socket) {
  pollfd wait{socket, POLLOUT, 0};
  poll(&wait, 1, -1);
}

// Drops the first `bytes` of `iovs`.
std::span<iovec> advance(std::span<iovec> iovs, std::size_t bytes) {
  while (!iovs.empty() && bytes >= iovs.front().iov_len) {
    bytes -= iovs.front().iov_len;
    iovs = iovs.subspan(1);
  }
  if (!iovs.empty()) {
    iovs.front().iov_base = static_cast<char*>(iovs.front().iov_base) + bytes;
    iovs.front().iov_len -= bytes;
  }
  return iovs;
}

}  // namespace

Result<ReplySender> ReplySender::create() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return fail_errno("reply pipe", "pipe2", errno);
  ReplySender sender{UniqueFd(ends[0]), UniqueFd(ends[1])};
  if (fcntl(ends[1], F_SETPIPE_SZ, kPipeBytes) < 0) {
    return fail_errno("reply pipe", "F_SETPIPE_SZ", errno);
  }
  return sender;
}

Result<void> ReplySender::lend(int socket, std::span<iovec> iovs) {
  while (!iovs.empty()) {
    const std::size_t count = std::min<std::size_t>(iovs.size(), IOV_MAX);
    const ssize_t bytes = vmsplice(write_end_.get(), iovs.data(), count, 0);
    if (bytes < 0) {
      if (errno == EINTR) continue;
      return fail_errno("reply", "vmsplice", errno);
    }
    if (auto result = empty_pipe(socket, static_cast<std::size_t>(bytes)); !result) return result;
    iovs = advance(iovs, static_cast<std::size_t>(bytes));
  }
  return {};
}

Result<void> ReplySender::empty_pipe(int socket, std::size_t bytes) {
  while (bytes > 0) {
    const ssize_t moved = splice(read_end_.get(), nullptr, socket, nullptr, bytes, SPLICE_F_MORE);
    if (moved > 0) {
      bytes -= static_cast<std::size_t>(moved);
    } else if (moved < 0 && errno == EAGAIN) {
      wait_until_writable(socket);
    } else if (moved == 0 || errno != EINTR) {
      const int error = moved == 0 ? EPIPE : errno;
      // The bytes left in the pipe belong to a dead connection. The next one must not get them.
      drain_pipe();
      return fail_errno("reply", "splice", error);
    }
  }
  return {};
}

void ReplySender::drain_pipe() {
  std::array<std::byte, 4096> discarded;
  ssize_t bytes;
  do {
    bytes = read(read_end_.get(), discarded.data(), discarded.size());
  } while (bytes > 0 || (bytes < 0 && errno == EINTR));
}

Result<void> ReplySender::copy(int socket, std::span<iovec> iovs) {
  while (!iovs.empty()) {
    msghdr message{};
    message.msg_iov = iovs.data();
    message.msg_iovlen = std::min<std::size_t>(iovs.size(), IOV_MAX);
    const ssize_t bytes = sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (bytes >= 0) {
      iovs = advance(iovs, static_cast<std::size_t>(bytes));
    } else if (errno == EAGAIN) {
      wait_until_writable(socket);
    } else if (errno != EINTR) {
      return fail_errno("reply", "sendmsg", errno);
    }
  }
  return {};
}

}  // namespace vramswap
