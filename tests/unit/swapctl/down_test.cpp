#include <pthread.h>

#include <csignal>

#include "tests/support/mebibyte.hpp"
#include "tests/unit/swapctl/command_fixture.hpp"

namespace vramswap::swapctl {
namespace {

using testing::EndsWith;
using testing::HasSubstr;

struct DownTest : CommandTest {};

TEST_F(DownTest, SaysNothingWhenItIsDone) {
  bool force = true;
  FakeDaemon daemon(environment.socket, [&](FakeConnection& connection) {
    force = std::get<control::DownRequest>(*control::decode_request(connection.read_line())).force;
    connection.reply(control::Progress{"/dev/nbd0", 1, 2});
    connection.reply(control::Done{});
  });
  EXPECT_EQ(run({"down"}), kDone);
  EXPECT_FALSE(force);
  EXPECT_EQ(out.str(), "");
  EXPECT_EQ(err.str(), "");
}

TEST_F(DownTest, ShowsProgressOnATerminalAndClearsIt) {
  environment.err_is_terminal = true;
  bool force = false;
  FakeDaemon daemon(environment.socket, [&](FakeConnection& connection) {
    force = std::get<control::DownRequest>(*control::decode_request(connection.read_line())).force;
    connection.reply(control::Progress{"/dev/nbd0", 256 * kMiB, 1024 * kMiB});
    connection.reply(control::Failure{"swapoff /dev/nbd0: ENOMEM (Cannot allocate memory)"});
  });
  EXPECT_EQ(run({"down", "--force"}), kFailed);
  EXPECT_TRUE(force);
  EXPECT_THAT(err.str(), HasSubstr("swapoff /dev/nbd0  [#####---------------]  256M of 1G  25%"));
  EXPECT_THAT(err.str(),
              EndsWith("\r\033[Kvramswap: swapoff /dev/nbd0: ENOMEM (Cannot allocate memory)\n"));
}

TEST_F(DownTest, SaysInOneLineWhyItIsRefused) {
  const std::string why =
      "the pages in use do not fit into their control groups: 42M more would come back into /box "
      "than its memory.max of 20M has room for";
  FakeDaemon daemon(environment.socket, [&](FakeConnection& connection) {
    connection.read_line();
    connection.reply(control::Failure{why});
  });
  EXPECT_EQ(run({"down"}), kFailed);
  EXPECT_EQ(out.str(), "");
  EXPECT_EQ(err.str(), "vramswap: " + why + "\n");
}

class DownSignalTest : public DownTest, public testing::WithParamInterface<int> {};
TEST_P(DownSignalTest, LeavesTheSwapUp) {
  const pthread_t client = pthread_self();
  bool hung_up = false;
  {
    FakeDaemon daemon(environment.socket, [&](FakeConnection& connection) {
      connection.read_line();
      pthread_kill(client, GetParam());
      hung_up = connection.read_line().empty();
    });
    EXPECT_EQ(run({"down"}), kFailed);
  }
  EXPECT_TRUE(hung_up);
  EXPECT_EQ(err.str(), "vramswap: interrupted: swap stays up\n");
}
INSTANTIATE_TEST_SUITE_P(Signals, DownSignalTest, testing::Values(SIGINT, SIGTERM));

TEST_F(DownTest, NothingUpIsAFailure) {
  directory.write("vramswap.conf", "broken");
  EXPECT_EQ(run({"down"}), kFailed);
  EXPECT_EQ(err.str(), "vramswap: nothing is up\n");
  FakeDaemon::leave_dead_socket(environment.socket);
  EXPECT_EQ(run({"down"}), kFailed);
  EXPECT_EQ(err.str(), "vramswap: nothing is up\n");
}

TEST_F(DownTest, NeedsRoot) {
  environment.is_root = false;
  EXPECT_EQ(run({"down"}), kFailed);
  EXPECT_EQ(err.str(), "vramswap: down needs root: run it with sudo\n");
}

}  // namespace
}  // namespace vramswap::swapctl
