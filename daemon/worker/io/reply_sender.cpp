#include "daemon/worker/io/reply_sender.hpp"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>

namespace vramswap {
namespace {

// 256 pipe slots, a page or a header each; what an unprivileged process may ask for.
constexpr int kPipeBytes = 1 << 20;

// The other side is slow to read. Its reader is in the kernel and needs no memory of ours, so the
// wait ends.
void wait_until_writable(int socket) {
  pollfd wait{socket, POLLOUT, 0};
  poll(&wait, 1, -1);
}

// Drops the first `bytes` of `pieces`.
std::span<iovec> advance(std::span<iovec> pieces, std::size_t bytes) {
  while (!pieces.empty() && bytes >= pieces.front().iov_len) {
    bytes -= pieces.front().iov_len;
    pieces = pieces.subspan(1);
  }
  if (!pieces.empty()) {
    pieces.front().iov_base = static_cast<char*>(pieces.front().iov_base) + bytes;
    pieces.front().iov_len -= bytes;
  }
  return pieces;
}

}  // namespace

Result<ReplySender> ReplySender::create() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return fail_errno("reply pipe", "pipe2", errno);
  ReplySender sender{UniqueFd(ends[0]), UniqueFd(ends[1]),
                     UniqueFd(open("/dev/null", O_WRONLY | O_CLOEXEC))};
  if (!sender.null_) return fail_errno("/dev/null", "open", errno);
  if (fcntl(ends[1], F_SETPIPE_SZ, kPipeBytes) < 0) {
    return fail_errno("reply pipe", "F_SETPIPE_SZ", errno);
  }
  return sender;
}

Result<void> ReplySender::lend(int socket, std::span<iovec> pieces) {
  while (!pieces.empty()) {
    const std::size_t count = std::min<std::size_t>(pieces.size(), IOV_MAX);
    const ssize_t bytes = vmsplice(write_end_.get(), pieces.data(), count, 0);
    if (bytes < 0) {
      if (errno == EINTR) continue;
      return fail_errno("reply", "vmsplice", errno);
    }
    if (auto result = empty_pipe(socket, static_cast<std::size_t>(bytes)); !result) return result;
    pieces = advance(pieces, static_cast<std::size_t>(bytes));
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
      // What is left belongs to a stream that is gone; the next one must not get it.
      drain_pipe(bytes);
      return fail_errno("reply", "splice", error);
    }
  }
  return {};
}

void ReplySender::drain_pipe(std::size_t bytes) {
  while (bytes > 0) {
    const ssize_t moved = splice(read_end_.get(), nullptr, null_.get(), nullptr, bytes, 0);
    if (moved > 0) bytes -= static_cast<std::size_t>(moved);
  }
}

Result<void> ReplySender::copy(int socket, std::span<iovec> pieces) {
  while (!pieces.empty()) {
    msghdr message{};
    message.msg_iov = pieces.data();
    message.msg_iovlen = std::min<std::size_t>(pieces.size(), IOV_MAX);
    const ssize_t bytes = sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (bytes >= 0) {
      pieces = advance(pieces, static_cast<std::size_t>(bytes));
    } else if (errno == EAGAIN) {
      wait_until_writable(socket);
    } else if (errno != EINTR) {
      return fail_errno("reply", "sendmsg", errno);
    }
  }
  return {};
}

}  // namespace vramswap
