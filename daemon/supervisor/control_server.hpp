// The supervisor's end of the control socket.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "daemon/control/protocol.hpp"
#include "daemon/supervisor/asio.hpp"
#include "daemon/supervisor/session.hpp"

namespace vramswap {

class ControlSession : public Session, public std::enable_shared_from_this<ControlSession> {
 public:
  ControlSession(asio::local::stream_protocol::socket socket, bool is_root)
      : socket_(std::move(socket)), drained_(socket_.get_executor()), is_root_(is_root) {}

  UniqueFd duplicate() override;

  // By the credentials that the kernel noted at connect(2).
  bool is_root() const override { return is_root_; }

  awaitable<Result<control::Request>> receive();
  void send(const control::Reply& reply) override;
  awaitable<void> flush() override;
  void watch(std::function<void()> closed) override;
  void stop_watching() override;

 private:
  awaitable<void> write_all();

  asio::local::stream_protocol::socket socket_;
  asio::steady_timer drained_;
  std::deque<std::string> outgoing_;
  bool is_writing_ = false;
  bool is_root_;
};

class ControlServer {
 public:
  using Handler = std::function<awaitable<void>(control::Request, std::shared_ptr<ControlSession>)>;

  // Takes the place of a socket that a dead daemon left: the caller holds the lock that says so.
  // Anyone may connect; `handler` asks who it is.
  static Result<std::unique_ptr<ControlServer>> listen(asio::io_context& io, std::string path,
                                                       Handler handler);
  ~ControlServer();
  ControlServer(const ControlServer&) = delete;

  // Refuses further clients and removes the socket; sessions go on.
  void close();

 private:
  ControlServer(asio::io_context& io, std::string path, Handler handler)
      : acceptor_(io), path_(std::move(path)), handler_(std::move(handler)) {}

  awaitable<void> accept_all();
  awaitable<void> serve(std::shared_ptr<ControlSession> session);

  asio::local::stream_protocol::acceptor acceptor_;
  std::string path_;
  Handler handler_;
};

}  // namespace vramswap
