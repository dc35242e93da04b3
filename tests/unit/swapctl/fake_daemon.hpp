// The daemon's end of a control socket: connections, served one by one as the test says.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "daemon/base/unique_fd.hpp"
#include "daemon/control/protocol.hpp"

namespace vramswap::swapctl {

class FakeConnection {
 public:
  explicit FakeConnection(int fd) : fd_(fd) {}

  // The next line without its end; empty when the client has gone.
  std::string read_line() {
    std::string line;
    for (char c = 0; recv(fd_.get(), &c, 1, 0) == 1 && c != '\n';) line += c;
    return line;
  }
  void write(std::string_view text) {
    while (!text.empty()) {
      const auto sent = send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL);
      if (sent <= 0) return;
      text.remove_prefix(static_cast<std::size_t>(sent));
    }
  }
  // The client has not gone.
  bool is_open() const {
    char byte = 0;
    return recv(fd_.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
  }
  void reply(const control::Reply& reply) { write(control::encode(reply) + '\n'); }

 private:
  UniqueFd fd_;
};

class FakeDaemon {
 public:
  using Serve = std::function<void(FakeConnection&)>;

  // Serves the first to connect, or so many, then closes.
  FakeDaemon(const std::filesystem::path& path, Serve serve, int connections = 1)
      : listener_(listen_at(path)), thread_([this, serve = std::move(serve), connections] {
          for (int i = 0; i < connections; ++i) {
            FakeConnection connection(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
            serve(connection);
          }
        }) {}
  // Lets the thread of a test that never connected go, too.
  ~FakeDaemon() {
    shutdown(listener_.get(), SHUT_RDWR);
    finish();
  }

  // Waits until the client that is connected has been served.
  void finish() {
    if (thread_.joinable()) thread_.join();
  }

  // A socket on which no process listens, as a killed daemon leaves it.
  static void leave_dead_socket(const std::filesystem::path& path) { listen_at(path); }

 private:
  static UniqueFd listen_at(const std::filesystem::path& path) {
    UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    EXPECT_EQ(bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(listen(fd.get(), 1), 0);
    return fd;
  }

  UniqueFd listener_;
  std::thread thread_;
};

}  // namespace vramswap::swapctl
