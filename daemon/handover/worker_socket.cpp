#include "daemon/handover/worker_socket.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "daemon/base/directory.hpp"
#include "daemon/base/unix_address.hpp"
#include "daemon/control/protocol.hpp"

namespace vramswap::worker_socket {
namespace {

Result<UniqueFd> make_socket(const std::string& path, int flags = 0) {
  UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | flags, 0));
  if (!socket) return fail_errno(path, "socket", errno);
  return socket;
}

}  // namespace

std::string path(const std::string& runtime_directory, std::size_t device) {
  return fmt::format("{}/{}{}", runtime_directory, control::kWorkerSocketPrefix, device);
}

std::vector<std::string> find(const std::string& runtime_directory) {
  std::vector<std::string> paths;
  const auto names = list_directory(runtime_directory);
  if (!names) return paths;
  for (const std::string& name : *names) {
    if (name.starts_with(control::kWorkerSocketPrefix)) {
      paths.push_back(fmt::format("{}/{}", runtime_directory, name));
    }
  }
  std::ranges::sort(paths);
  return paths;
}

Result<UniqueFd> listen(const std::string& path) {
  const auto address = unix_address(path, "bind");
  if (!address) return address.error();
  auto socket = make_socket(path);
  if (!socket) return socket;
  if (unlink(path.c_str()) != 0 && errno != ENOENT) return fail_errno(path, "unlink", errno);
  // Before bind(), which gives the file the mode of the descriptor.
  if (fchmod(socket->get(), 0600) != 0) return fail_errno(path, "fchmod", errno);
  if (bind(socket->get(), as_sockaddr(*address), sizeof *address) != 0) {
    return fail_errno(path, "bind", errno);
  }
  if (::listen(socket->get(), 1) != 0) return fail_errno(path, "listen", errno);
  return socket;
}

UniqueFd accept(int listener) {
  return UniqueFd(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
}

Result<WorkerConnection> connect(const std::string& path) {
  const auto address = unix_address(path, "connect");
  if (!address) return address.error();
  // Otherwise connect() would wait for as long as earlier connections wait to be accepted.
  auto socket = make_socket(path, SOCK_NONBLOCK);
  if (!socket) return socket.error();
  if (::connect(socket->get(), as_sockaddr(*address), sizeof *address) != 0) {
    Error error = errno_error(path, "connect", errno);
    if (error.code == EAGAIN) error.message += "; the worker does not answer";
    return error;
  }
  fcntl(socket->get(), F_SETFL, 0);
  // Of the process that called listen(), exec or not.
  ucred peer{};
  socklen_t size = sizeof peer;
  if (getsockopt(socket->get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
    return fail_errno(path, "SO_PEERCRED", errno);
  }
  return WorkerConnection{*std::move(socket), peer.pid};
}

}  // namespace vramswap::worker_socket
