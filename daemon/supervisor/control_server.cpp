#include "daemon/supervisor/control_server.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "daemon/supervisor/spawn.hpp"
#include "daemon/system/log.hpp"

namespace vramswap {
namespace {

using Socket = asio::local::stream_protocol::socket;

bool peer_is_root(Socket& socket) {
  ucred peer{};
  socklen_t size = sizeof peer;
  return getsockopt(socket.native_handle(), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
         peer.uid == 0;
}

}  // namespace

UniqueFd ControlSession::duplicate() {
  return vramswap::duplicate(socket_.native_handle());
}

awaitable<Result<control::Request>> ControlSession::receive() {
  std::string line;
  ErrorCode error;
  const std::size_t bytes = co_await asio::async_read_until(
      socket_, asio::dynamic_buffer(line, control::kMaxLineBytes), '\n', into(error));
  if (error) co_return fail(fmt::format("control socket: {}", error.message()));
  co_return control::decode_request(std::string_view(line).substr(0, bytes - 1));
}

void ControlSession::send(const control::Reply& reply) {
  outgoing_.push_back(control::encode(reply) + '\n');
  if (is_writing_) return;
  is_writing_ = true;
  spawn(socket_.get_executor(), [](std::shared_ptr<ControlSession> self) -> awaitable<void> {
    co_await self->write_all();
  }(shared_from_this()));
}

awaitable<void> ControlSession::write_all() {
  ErrorCode error;
  while (!outgoing_.empty() && !error) {
    co_await asio::async_write(socket_, asio::buffer(outgoing_.front()), into(error));
    outgoing_.pop_front();
  }
  outgoing_.clear();
  is_writing_ = false;
  drained_.cancel();
}

awaitable<void> ControlSession::flush() {
  ErrorCode ignored;
  drained_.expires_at(asio::steady_timer::time_point::max());
  while (is_writing_) co_await drained_.async_wait(into(ignored));
}

void ControlSession::watch(std::function<void()> closed) {
  socket_.async_wait(Socket::wait_read,
                     [self = shared_from_this(), closed = std::move(closed)](ErrorCode error) {
                       if (!error)
                         closed();  // a client has nothing to say after its request but good-bye
                     });
}

void ControlSession::stop_watching() {
  ErrorCode ignored;
  socket_.cancel(ignored);
}

Result<std::unique_ptr<ControlServer>> ControlServer::listen(asio::io_context& io, std::string path,
                                                             Handler handler) {
  std::unique_ptr<ControlServer> server(new ControlServer(io, path, std::move(handler)));
  if (unlink(path.c_str()) != 0 && errno != ENOENT) return fail_errno(path, "unlink", errno);
  const asio::local::stream_protocol::endpoint endpoint(path);
  auto& acceptor = server->acceptor_;
  ErrorCode error;
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error && chmod(path.c_str(), 0666) != 0) error.assign(errno, error.category());
  if (!error)
    acceptor.listen(asio::local::stream_protocol::acceptor::max_listen_connections, error);
  if (error) return fail_errno(path, "listen", error.value());
  spawn(io, server->accept_all());
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

awaitable<void> ControlServer::accept_all() {
  for (;;) {
    ErrorCode error;
    Socket socket = co_await acceptor_.async_accept(into(error));
    if (error == asio::error::operation_aborted) co_return;
    if (error) {
      log_error(fmt::format("control socket: accept: {}", error.message()));
      // Out of descriptors, say: a pause, or this would spin.
      asio::steady_timer pause(acceptor_.get_executor(), std::chrono::seconds(1));
      co_await pause.async_wait(into(error));
      continue;
    }
    const bool is_root = peer_is_root(socket);
    spawn(acceptor_.get_executor(),
          serve(std::make_shared<ControlSession>(std::move(socket), is_root)));
  }
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
