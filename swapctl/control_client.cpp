#include "swapctl/control_client.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>

#include "daemon/base/directory.hpp"
#include "daemon/base/unix_address.hpp"
namespace vramswap::swapctl {
namespace {

constexpr std::size_t kChunkBytes = 16 << 10;

std::unexpected<Error> ended() {
  return std::unexpected(
      Error{"vramswapd ended before it answered, or has too many clients: see its log (journalctl "
            "-u vramswap, or dmesg)",
            ECONNRESET});
}

}  // namespace

Result<ControlClient> ControlClient::connect(const std::filesystem::path& socket) {
  const std::string path = socket.string();
  const auto address = unix_address(path, "connect");
  if (!address) return address.error();
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return fail_errno(path, "socket", errno);
  if (::connect(fd.get(), as_sockaddr(*address), sizeof *address) != 0) {
    return fail_errno(path, "connect", errno);
  }
  return ControlClient(std::move(fd));
}

Result<void> ControlClient::send(const control::Request& request) {
  const std::string line = control::encode(request) + '\n';
  for (std::string_view rest = line; !rest.empty();) {
    const auto sent = ::send(socket_.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
    if (sent >= 0) {
      rest.remove_prefix(static_cast<std::size_t>(sent));
    } else if (errno == EPIPE || errno == ECONNRESET) {
      return {};  // a daemon that turns us away unheard has put its reason into the socket
    } else if (errno != EINTR) {
      return fail_errno("vramswapd", "send", errno);
    }
  }
  return {};
}

Result<control::Reply> ControlClient::next(const WaitOptions& options) {
  for (std::size_t searched = 0;;) {
    const auto end = received_.find('\n', searched);
    searched = received_.size();
    if (std::min(end, searched) > control::kMaxLineBytes) {
      return fail(
          fmt::format("vramswapd sent a line of more than {} bytes: is another program "
                      "at its socket?",
                      control::kMaxLineBytes));
    }
    if (end != std::string::npos) {
      const std::string line = received_.substr(0, end);
      received_.erase(0, end + 1);
      return control::decode_reply(line);
    }
    if (const auto ready = wait(options); !ready) return ready.error();
    if (const auto received = receive(); !received) return received.error();
  }
}

Result<void> ControlClient::finish(std::chrono::milliseconds limit) {
  shutdown(socket_.get(), SHUT_WR);  // fails where the other end has gone already
  for (;;) {
    if (const auto reply = next({.limit = limit}); !reply) {
      if (reply.error().code == ECONNRESET) return {};
      return reply.error();
    }
  }
}

Result<void> ControlClient::wait(const WaitOptions& options) const {
  std::array<pollfd, 2> fds = {{{.fd = socket_.get(), .events = POLLIN, .revents = 0},
                                {.fd = options.interrupt_fd, .events = POLLIN, .revents = 0}}};
  int ready = 0;
  do {
    ready = poll(fds.data(), fds.size(), static_cast<int>(options.limit.count()));
  } while (ready < 0 && errno == EINTR);
  if (ready < 0) return fail_errno("vramswapd", "poll", errno);
  if (ready == 0) {
    return fail(fmt::format("vramswapd has not answered for {:.1f} s: see its log",
                            std::chrono::duration<double>(options.limit).count()));
  }
  // An answer that is there counts, even if the interruption came with it.
  if (fds[0].revents == 0) return std::unexpected(Error{"interrupted", EINTR});
  return {};
}

Result<void> ControlClient::receive() {
  std::array<char, kChunkBytes> chunk;
  const auto count = recv(socket_.get(), chunk.data(), chunk.size(), 0);
  // A peer that closes with our request unread resets the connection.
  if (count == 0 || (count < 0 && errno == ECONNRESET)) return ended();
  if (count > 0) {
    received_.append(chunk.data(), static_cast<std::size_t>(count));
  } else if (errno != EINTR) {
    return fail_errno("vramswapd", "recv", errno);
  }
  return {};
}

bool no_daemon(const Error& error) {
  return error.code == ENOENT || error.code == ECONNREFUSED;
}

bool has_orphans(const std::filesystem::path& socket) {
  const auto names = list_directory(socket.parent_path());
  return names && std::ranges::any_of(*names, [](const std::string& name) {
           return name.starts_with(control::kWorkerSocketPrefix);
         });
}

Result<control::Reply> exchange(ControlClient& client, const control::Request& request,
                                const WaitOptions& options) {
  if (auto sent = client.send(request); !sent) return sent.error();
  for (;;) {
    auto reply = client.next(options);
    if (!reply) return reply;
    if (const auto* failure = std::get_if<control::Failure>(&*reply)) return fail(failure->message);
    const auto* progress = std::get_if<control::Progress>(&*reply);
    if (!progress) return reply;
    if (options.on_progress) options.on_progress(*progress);
  }
}

}  // namespace vramswap::swapctl
