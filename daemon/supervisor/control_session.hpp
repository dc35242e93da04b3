// The supervisor's end of one connection to the control socket.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "daemon/base/error.hpp"
#include "daemon/control/protocol.hpp"
#include "daemon/supervisor/asio.hpp"
#include "daemon/supervisor/client_limits.hpp"
#include "daemon/supervisor/machine/machine.hpp"
#include "daemon/supervisor/session.hpp"

namespace vramswap {

class ControlSession : public Session, public std::enable_shared_from_this<ControlSession> {
 public:
  // `user` is by the credentials that the kernel noted at connect(2). `place` is kept until the
  // connection is closed.
  static Result<std::shared_ptr<ControlSession>> create(Machine& machine, UniqueFd connection,
                                                        uid_t user,
                                                        std::shared_ptr<const void> place);

  UniqueFd duplicate() override;
  bool is_root() const override { return user_ == 0; }
  // Asks the kernel, which noted the groups at connect(2): there may be 65536, and to keep them for
  // each client would take memory.
  bool is_in_group(gid_t group) override;

  // The connection is closed if the whole request does not come in time.
  awaitable<Result<control::Request>> receive();
  // Progress is dropped while the client has not taken what was sent before: what a client that is
  // stopped costs does not grow. The connection is closed if a reply is not taken in time.
  void send(const control::Reply& reply) override;
  awaitable<void> flush() override;
  void watch(std::function<void()> closed) override;
  void stop_watching() override;

 private:
  using Socket = asio::local::stream_protocol::socket;

  ControlSession(Machine& machine, uid_t user, std::shared_ptr<const void> place)
      : machine_(machine),
        place_(std::move(place)),
        socket_(machine.io),
        drained_(machine.io),
        user_(user),
        limits_(user == 0 ? kRootLimits : kUserLimits) {}

  std::shared_ptr<Timer> close_after(std::chrono::nanoseconds time);
  awaitable<void> write_all();

  Machine& machine_;
  const std::shared_ptr<const void> place_;  // goes after the socket
  Socket socket_;
  asio::steady_timer drained_;
  const uid_t user_;
  const ClientLimits limits_;
  std::deque<std::string> outgoing_;
  bool is_writing_ = false;
};

}  // namespace vramswap
