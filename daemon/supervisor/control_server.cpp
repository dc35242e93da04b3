#include "daemon/supervisor/control_server.hpp"

#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "daemon/supervisor/spawn.hpp"
#include "daemon/system/log.hpp"

namespace vramswap {
namespace {

// Before the next client is let in when the kernel had no descriptor or no memory for one.
constexpr std::chrono::milliseconds kAcceptPause{100};

Result<UniqueFd> accept_client(int listening) {
  UniqueFd connection(accept4(listening, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!connection) return fail_errno("control socket", "accept", errno);
  return connection;
}

Result<uid_t> user_of_client(int connection) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
    return fail_errno("control socket", "SO_PEERCRED", errno);
  }
  return peer.uid;
}

// The client has gone already, or there was none.
bool is_of_client(int code) {
  return code == EAGAIN || code == EINTR || code == ECONNABORTED;
}

bool is_in_lower_half(int descriptor) {
  rlimit limit{};
  return getrlimit(RLIMIT_NOFILE, &limit) == 0 &&
         static_cast<rlim_t>(descriptor) < limit.rlim_cur / 2;
}

}  // namespace

ControlServer::Calls ControlServer::Calls::of_kernel() {
  return {.accept = accept_client, .user_of = user_of_client};
}

Result<std::unique_ptr<ControlServer>> ControlServer::listen(Machine& machine, std::string path,
                                                             Handler handler, Calls calls) {
  std::unique_ptr<ControlServer> server(
      new ControlServer(machine, path, std::move(handler), std::move(calls)));
  if (unlink(path.c_str()) != 0 && errno != ENOENT) return fail_errno(path, "unlink", errno);
  const asio::local::stream_protocol::endpoint endpoint(path);
  auto& acceptor = server->acceptor_;
  ErrorCode error;
  acceptor.open(endpoint.protocol(), error);
  // A client may have gone between the kernel's word that there is one and accept4(2).
  if (!error) acceptor.non_blocking(true, error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error && chmod(path.c_str(), 0666) != 0) error.assign(errno, error.category());
  if (!error)
    acceptor.listen(asio::local::stream_protocol::acceptor::max_listen_connections, error);
  if (error) return fail_errno(path, "listen", error.value());
  spawn(machine.io, server->accept_all());
  return server;
}

ControlServer::~ControlServer() {
  close();
}

void ControlServer::close() {
  if (!acceptor_.is_open()) return;
  ErrorCode ignored;
  unlink(path_.c_str());
  acceptor_.close(ignored);
}

// One client at a time: between two the reactor does what else there is to do, however many come.
awaitable<void> ControlServer::accept_all() {
  using Acceptor = asio::local::stream_protocol::acceptor;
  bool is_logged = false;
  for (;;) {
    ErrorCode error;
    co_await acceptor_.async_wait(Acceptor::wait_read, into(error));
    if (error == asio::error::operation_aborted) co_return;
    const auto accepted = accept_one();
    if (accepted) {
      is_logged = false;
      continue;
    }
    if (!std::exchange(is_logged, true)) {
      log_error(fmt::format("{}; clients wait until it works", accepted.error().message));
    }
    // Out of descriptors, say. The client is still there: without a pause this would spin.
    co_await machine_.clock.sleep(kAcceptPause);
    if (!acceptor_.is_open()) co_return;
  }
}

// Who it is comes first: a client that is not let in costs two system calls and no memory. It gets
// no answer, for that would take memory in the kernel.
Result<void> ControlServer::accept_one() {
  auto connection = calls_.accept(acceptor_.native_handle());
  if (!connection && is_of_client(connection.error().code)) return {};
  if (!connection) return connection.error();
  const auto user = calls_.user_of(connection->get());
  if (!user) return {};
  auto place = admit(*user, connection->get());
  if (!place) return {};
  auto session = ControlSession::create(machine_, *std::move(connection), *user, std::move(place));
  if (!session) return session.error();
  spawn(machine_.io, serve(*std::move(session)));
  return {};
}

// A place for a client, or none.
std::shared_ptr<const uid_t> ControlServer::admit(uid_t user, int connection) {
  std::erase_if(places_, [](const auto& place) { return place.expired(); });
  const auto is_root = [](const auto& place) { return *place.lock() == 0; };
  const auto is_same = [&](const auto& place) { return *place.lock() == user; };
  if (user == 0) {
    if (std::ranges::count_if(places_, is_root) >= kMaxRootClients) return nullptr;
  } else {
    const auto users = std::ranges::count_if(places_, std::not_fn(is_root));
    if (users >= kMaxUserClients) return nullptr;
    if (std::ranges::count_if(places_, is_same) >= kMaxClientsOfUser) return nullptr;
    if (!is_in_lower_half(connection)) return nullptr;
  }
  auto place = std::make_shared<const uid_t>(user);
  places_.push_back(place);
  return place;
}

awaitable<void> ControlServer::serve(std::shared_ptr<ControlSession> session) {
  auto request = co_await session->receive();
  if (request) {
    co_await handler_(*std::move(request), session);
  } else {
    session->send(control::Failure{request.error().message});
  }
  co_await session->flush();
}

}  // namespace vramswap
