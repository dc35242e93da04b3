// A daemon that has died with its swap up: the sockets of its workers show that. A user who may do
// so starts the next one, which takes the swap over.
#include "tests/unit/swapctl/command_fixture.hpp"

namespace vramswap::swapctl {
namespace {

using testing::AllOf;
using testing::HasSubstr;

struct OrphansTest : CommandTest {
  OrphansTest() {
    environment.start_daemon = [this](const std::filesystem::path& socket) {
      EXPECT_EQ(socket, environment.socket);
      ++starts;
      return ControlClient::connect(started);
    };
  }
  void leave_a_worker() { FakeDaemon::leave_dead_socket(directory / "worker-0"); }

  // Runs `words`, for which a daemon may be started that answers with `reply`.
  int run_with_daemon(const std::vector<const char*>& words, const control::Reply& reply) {
    FakeDaemon daemon(started, [&](FakeConnection& connection) {
      const auto line = control::decode_request(connection.read_line());
      if (line) request = *line;
      connection.reply(reply);
    });
    return run(words);
  }

  const std::filesystem::path started = directory / "started";
  int starts = 0;
  control::Request request = control::UpRequest{};
};

TEST_F(OrphansTest, AreTheSocketsOfWorkersBesideTheControlSocket) {
  EXPECT_FALSE(has_orphans(environment.socket));
  EXPECT_FALSE(has_orphans("/nonexistent/directory/control"));
  FakeDaemon::leave_dead_socket(environment.socket);
  directory.write("lock", "");
  directory.write("other-worker-0", "");
  EXPECT_FALSE(has_orphans(environment.socket));
  FakeDaemon::leave_dead_socket(directory / "worker-12");
  EXPECT_TRUE(has_orphans(environment.socket));
}

TEST_F(OrphansTest, StatusStartsTheDaemonForRoot) {
  leave_a_worker();
  FakeDaemon::leave_dead_socket(environment.socket);
  EXPECT_EQ(run_with_daemon({"status"}, one_segment()), kDone);
  EXPECT_EQ(starts, 1);
  EXPECT_TRUE(std::holds_alternative<control::StatusRequest>(request));
  EXPECT_EQ(out.str(), kOneSegmentTable);
}

TEST_F(OrphansTest, StatusAsksTheNextDaemonWhereOneDiesAsItIsAsked) {
  leave_a_worker();
  const FakeDaemon dying(environment.socket, [&](FakeConnection& connection) {
    connection.read_line();
    std::filesystem::remove(environment.socket);
  });
  EXPECT_EQ(run_with_daemon({"status"}, one_segment()), kDone);
  EXPECT_EQ(starts, 1);
  EXPECT_EQ(out.str(), kOneSegmentTable);
}

TEST_F(OrphansTest, DownTakesDownTheSwapThatTheNewDaemonTookOver) {
  leave_a_worker();
  EXPECT_EQ(run_with_daemon({"down", "--force"}, control::Done{}), kDone);
  EXPECT_EQ(starts, 1);
  ASSERT_TRUE(std::holds_alternative<control::DownRequest>(request));
  EXPECT_TRUE(std::get<control::DownRequest>(request).force);
}

TEST_F(OrphansTest, ReloadFindsTheNewDaemon) {
  leave_a_worker();
  EXPECT_EQ(run_with_daemon({"reload"}, one_segment()), kDone);
  EXPECT_EQ(starts, 1);
}

TEST_F(OrphansTest, OtherUsersGetAdvice) {
  leave_a_worker();
  environment.is_root = false;
  EXPECT_EQ(run({"status"}), kFailed);
  EXPECT_EQ(starts, 0);
  EXPECT_EQ(out.str(), "");
  EXPECT_THAT(err.str(), AllOf(HasSubstr("vramswapd has died, and its swap is up"),
                               HasSubstr("sudo vramswap status")));
}

TEST_F(OrphansTest, WithoutThemNothingIsStarted) {
  EXPECT_EQ(run({"status"}), kNothingUp);
  EXPECT_EQ(run({"down"}), kFailed);
  EXPECT_EQ(run({"reload"}), kFailed);
  EXPECT_EQ(starts, 0);
}

TEST_F(OrphansTest, NorWhereADaemonAnswers) {
  leave_a_worker();
  FakeDaemon daemon(environment.socket, [](FakeConnection& connection) {
    connection.read_line();
    connection.reply(one_segment());
  });
  EXPECT_EQ(run({"status"}), kDone);
  EXPECT_EQ(starts, 0);
}

TEST_F(OrphansTest, ADaemonThatCannotBeStartedIsReported) {
  leave_a_worker();
  environment.start_daemon = [](const auto&) -> Result<ControlClient> { return fail("no way"); };
  EXPECT_EQ(run({"status"}), kFailed);
  EXPECT_EQ(err.str(), "vramswap: no way\n");
}

}  // namespace
}  // namespace vramswap::swapctl
