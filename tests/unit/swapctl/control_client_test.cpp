#include "swapctl/control_client.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <thread>

#include "tests/support/temp_directory.hpp"
#include "tests/unit/swapctl/fake_daemon.hpp"

namespace vramswap::swapctl {
namespace {

using control::Done;
using control::Progress;
using control::Status;
using control::StatusRequest;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

struct ControlClientTest : testing::Test {
  // The answer to a status request from a daemon that serves like this.
  Result<Status> ask_daemon(FakeDaemon::Serve serve, const WaitOptions& waiting = {}) {
    FakeDaemon daemon(socket, std::move(serve));
    auto client = ControlClient::connect(socket);
    if (!client) return client.error();
    return ask<Status>(*client, StatusRequest{}, waiting);
  }
  // A connection to a daemon that has sent this, unasked, and hung up.
  Result<ControlClient> connect_to_gone(const control::Reply& reply) {
    FakeDaemon daemon(socket, [&](FakeConnection& connection) { connection.reply(reply); });
    auto client = ControlClient::connect(socket);
    if (client) daemon.finish();
    return client;
  }
  std::string error_from(FakeDaemon::Serve serve) {
    const auto answer = ask_daemon(std::move(serve));
    return answer ? "" : answer.error().message;
  }

  TempDirectory directory;
  const std::filesystem::path socket = directory / "control";
};

TEST_F(ControlClientTest, NoSocketAndADeadOneMeanNoDaemon) {
  const auto missing = ControlClient::connect(socket);
  ASSERT_FALSE(missing);
  EXPECT_TRUE(no_daemon(missing.error()));
  FakeDaemon::leave_dead_socket(socket);
  const auto dead = ControlClient::connect(socket);
  ASSERT_FALSE(dead);
  EXPECT_EQ(dead.error().code, ECONNREFUSED);
  EXPECT_TRUE(no_daemon(dead.error()));
}

TEST_F(ControlClientTest, OtherConnectErrorsAreNamed) {
  const auto too_long = ControlClient::connect("/" + std::string(200, 'x'));
  ASSERT_FALSE(too_long);
  EXPECT_FALSE(no_daemon(too_long.error()));
  EXPECT_THAT(too_long.error().message, HasSubstr("ENAMETOOLONG"));
  const auto below_a_file = ControlClient::connect(directory.write("file", "") / "control");
  ASSERT_FALSE(below_a_file);
  EXPECT_FALSE(no_daemon(below_a_file.error()));
}

TEST_F(ControlClientTest, ARequestIsOneLine) {
  std::string line;
  const auto answer = ask_daemon([&](FakeConnection& connection) {
    line = connection.read_line();
    connection.reply(Status{.version = "9", .supervisor_pid = 1, .segments = {}});
  });
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->version, "9");
  EXPECT_TRUE(control::decode_request(line));
}

TEST_F(ControlClientTest, RepliesMayComeInAnyPieces) {
  std::vector<std::uint64_t> seen;
  const auto answer = ask_daemon(
      [](FakeConnection& connection) {
        connection.read_line();
        const auto progress = control::encode(Progress{"/dev/nbd0", 1, 3}) + '\n';
        const auto more = control::encode(Progress{"/dev/nbd0", 2, 3}) + '\n';
        connection.write(progress + more.substr(0, 5));
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        connection.write(more.substr(5));
        connection.reply(Status{});
      },
      {.on_progress = [&](const Progress& progress) { seen.push_back(progress.done_bytes); }});
  EXPECT_TRUE(answer);
  EXPECT_THAT(seen, ElementsAre(1, 2));
}

TEST_F(ControlClientTest, AFailureIsTheError) {
  EXPECT_EQ(error_from([](FakeConnection& connection) {
              connection.read_line();
              connection.reply(control::Failure{"no room"});
            }),
            "no room");
}

TEST_F(ControlClientTest, AnAnswerOfAnotherKindIsRefused) {
  EXPECT_THAT(error_from([](FakeConnection& connection) {
                connection.read_line();
                connection.reply(Done{});
              }),
              HasSubstr("does not belong"));
}

TEST_F(ControlClientTest, AnotherProtocolVersionIsNamed) {
  EXPECT_THAT(error_from([](FakeConnection& connection) {
                connection.read_line();
                connection.write("{\"protocol\":7,\"type\":\"state\"}\n");
              }),
              HasSubstr("control protocol 7"));
}

TEST_F(ControlClientTest, GarbageIsAnError) {
  EXPECT_THAT(error_from([](FakeConnection& connection) {
                connection.read_line();
                connection.write("HTTP/1.1 400 Bad Request\r\n");
              }),
              StartsWith("malformed control message"));
}

TEST_F(ControlClientTest, AnEndlessLineIsAnError) {
  EXPECT_THAT(error_from([](FakeConnection& connection) {
                connection.read_line();
                connection.write(std::string(control::kMaxLineBytes + 1000, ' '));
                connection.read_line();
              }),
              HasSubstr("1048576 bytes"));
}

TEST_F(ControlClientTest, TheEndBeforeTheAnswerIsAnError) {
  EXPECT_THAT(error_from([](FakeConnection& connection) { connection.read_line(); }),
              StartsWith("vramswapd ended before it answered"));
  std::filesystem::remove(socket);
  EXPECT_THAT(error_from([](FakeConnection& connection) {
                connection.read_line();
                connection.reply(Progress{"/dev/nbd0", 1, 2});
                connection.write("{\"proto");
              }),
              StartsWith("vramswapd ended before it answered"));
}

// Sending to a daemon that has hung up must neither kill this process nor hide the daemon's answer.
TEST_F(ControlClientTest, AnAnswerThatDoesNotWaitForTheRequestIsHeard) {
  auto client = connect_to_gone(control::Failure{"go away"});
  ASSERT_TRUE(client);
  const auto answer = ask<Status>(*client, StatusRequest{});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().message, "go away");
}

TEST_F(ControlClientTest, AnAnswerThatIsThereWinsOverAnInterruption) {
  auto client = connect_to_gone(Done{});
  ASSERT_TRUE(client);
  const UniqueFd readable(open("/dev/zero", O_RDONLY | O_CLOEXEC));
  const WaitOptions waiting{.interrupt_fd = readable.get()};
  EXPECT_TRUE(ask<Done>(*client, control::DownRequest{}, waiting));
}

TEST_F(ControlClientTest, AnInterruptionEndsTheWait) {
  const UniqueFd readable(open("/dev/zero", O_RDONLY | O_CLOEXEC));
  const auto answer = ask_daemon(
      [](FakeConnection& connection) {
        connection.read_line();
        connection.read_line();  // until the client has gone
      },
      {.interrupt_fd = readable.get()});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, EINTR);
}

TEST_F(ControlClientTest, TheEndIsWaitedFor) {
  std::atomic<bool> has_ended = false;
  FakeDaemon daemon(socket, [&](FakeConnection& connection) {
    EXPECT_EQ(connection.read_line(), "");  // our end is closed, and no other sign of it
    connection.reply(Done{});
    has_ended = true;
  });
  auto client = ControlClient::connect(socket);
  ASSERT_TRUE(client);
  EXPECT_TRUE(client->finish(std::chrono::seconds(30)));
  EXPECT_TRUE(has_ended);
}

TEST_F(ControlClientTest, TheWaitForTheEndHasALimit) {
  std::atomic<bool> may_end = false;
  FakeDaemon daemon(socket, [&](FakeConnection&) {
    while (!may_end) std::this_thread::yield();
  });
  auto client = ControlClient::connect(socket);
  ASSERT_TRUE(client);
  EXPECT_FALSE(client->finish(std::chrono::milliseconds(20)));
  may_end = true;
}

TEST_F(ControlClientTest, SilenceHasALimit) {
  const auto answer = ask_daemon(
      [](FakeConnection& connection) {
        connection.read_line();
        connection.read_line();  // until the client has gone
      },
      {.limit = std::chrono::milliseconds(20)});
  ASSERT_FALSE(answer);
  EXPECT_THAT(answer.error().message, HasSubstr("has not answered"));
}

}  // namespace
}  // namespace vramswap::swapctl
