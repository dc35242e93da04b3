// Listens at the control socket: lets clients in, as many as may be, and hands on what they ask
// for.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "daemon/supervisor/control_session.hpp"

namespace vramswap {

class ControlServer {
 public:
  using Handler = std::function<awaitable<void>(control::Request, std::shared_ptr<ControlSession>)>;

  // What the server asks the kernel; tests answer themselves.
  struct Calls {
    // accept4(2): the connection, or an errno.
    std::function<Result<UniqueFd>(int listening)> accept;
    // SO_PEERCRED: the user who called connect(2).
    std::function<Result<uid_t>(int connection)> user_of;
    static Calls of_kernel();
  };

  // Takes the place of a socket that a dead daemon left: the caller holds the lock that says so.
  // Anyone may connect, see client_limits.hpp; `handler` asks who it is.
  static Result<std::unique_ptr<ControlServer>> listen(Machine& machine, std::string path,
                                                       Handler handler,
                                                       Calls calls = Calls::of_kernel());
  ~ControlServer();
  ControlServer(const ControlServer&) = delete;

  // Refuses further clients and removes the socket; sessions go on.
  void close();

 private:
  ControlServer(Machine& machine, std::string path, Handler handler, Calls calls)
      : machine_(machine),
        acceptor_(machine.io),
        path_(std::move(path)),
        handler_(std::move(handler)),
        calls_(std::move(calls)) {}

  awaitable<void> accept_all();
  Result<void> accept_one();
  std::shared_ptr<const uid_t> admit(uid_t user, int connection);
  awaitable<void> serve(std::shared_ptr<ControlSession> session);

  Machine& machine_;
  asio::local::stream_protocol::acceptor acceptor_;
  std::string path_;
  Handler handler_;
  Calls calls_;
  // The user of each client. A client has gone when nobody else keeps its place.
  std::vector<std::weak_ptr<const uid_t>> places_;
};

}  // namespace vramswap
