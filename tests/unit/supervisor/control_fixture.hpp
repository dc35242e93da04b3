// A control server with real sockets, whose clients are who the test says they are.
#pragma once

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/socket.h>

#include <array>
#include <memory>

#include "daemon/base/unix_address.hpp"
#include "daemon/supervisor/control_server.hpp"
#include "tests/fake_machine/fake_machine.hpp"
#include "tests/support/temp_directory.hpp"

namespace vramswap {

class ControlTest : public testing::Test {
 protected:
  static constexpr uid_t kRoot = 0;
  static constexpr uid_t kUser = 1000;
  static constexpr std::string_view kRequest = "{\"protocol\":2,\"type\":\"status\"}\n";

  ControlTest() {
    ControlServer::Calls calls = ControlServer::Calls::of_kernel();
    calls.accept = [this, accept = calls.accept](int listening) -> Result<UniqueFd> {
      ++accepts_;
      if (accept_fails_with_ != 0) return errno_error("test", "accept", accept_fails_with_);
      return accept(listening);
    };
    calls.user_of = [this](int) -> Result<uid_t> { return user_; };
    auto server = ControlServer::listen(
        machine_.interfaces, path_,
        [this](control::Request, std::shared_ptr<ControlSession> session) {
          return handle(std::move(session));
        },
        std::move(calls));
    EXPECT_TRUE(server) << server.error().message;
    server_ = *std::move(server);
    machine_.settle();
  }

  // Answers Done to any request.
  virtual awaitable<void> handle(std::shared_ptr<ControlSession> session) {
    ++requests_;
    session->send(control::Done{});
    co_return;
  }

  UniqueFd connect_only() const {
    const auto address = unix_address(path_, "connect");
    UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::connect(socket.get(), as_sockaddr(*address), sizeof *address), 0);
    fcntl(socket.get(), F_SETFL, O_NONBLOCK);
    return socket;
  }
  UniqueFd connect(uid_t user) {
    user_ = user;
    UniqueFd socket = connect_only();
    machine_.settle();
    return socket;
  }
  std::vector<UniqueFd> connect(uid_t user, unsigned count) {
    std::vector<UniqueFd> sockets;
    while (sockets.size() < count) sockets.push_back(connect(user));
    return sockets;
  }
  void send(const UniqueFd& socket, std::string_view text) {
    EXPECT_EQ(::send(socket.get(), text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
    machine_.settle();
  }
  // The server's replies so far.
  std::string read(const UniqueFd& socket) {
    std::string text;
    std::array<char, 65536> buffer;
    ssize_t bytes = 0;
    while ((bytes = recv(socket.get(), buffer.data(), buffer.size(), 0)) > 0) {
      text.append(buffer.data(), static_cast<std::size_t>(bytes));
      machine_.settle();
    }
    is_open_ = bytes < 0 && errno == EAGAIN;
    return text;
  }
  bool is_open(const UniqueFd& socket) {
    read(socket);
    return is_open_;
  }
  bool gets_in(uid_t user) {
    const UniqueFd socket = connect(user);
    return is_open(socket);
  }
  unsigned open_among(const std::vector<UniqueFd>& sockets) {
    unsigned count = 0;
    for (const UniqueFd& socket : sockets) count += is_open(socket);
    return count;
  }
  // A request and the reply to it.
  std::string ask(uid_t user) {
    const UniqueFd socket = connect(user);
    send(socket, kRequest);
    return read(socket);
  }
  void expect_served(uid_t user) { EXPECT_THAT(ask(user), testing::HasSubstr("done")); }

  TempDirectory directory_;
  const std::string path_ = directory_ / "control";
  fake::FakeMachine machine_;
  uid_t user_ = kRoot;
  int accept_fails_with_ = 0;
  unsigned accepts_ = 0;
  unsigned requests_ = 0;
  bool is_open_ = false;
  std::unique_ptr<ControlServer> server_;
};

}  // namespace vramswap
