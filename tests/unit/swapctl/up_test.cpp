#include "tests/unit/swapctl/command_fixture.hpp"

namespace vramswap::swapctl {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

struct UpTest : CommandTest {
  // Runs `up` against a daemon that takes the request and answers like this.
  int run_up(const std::vector<const char*>& words, const control::Reply& reply) {
    FakeDaemon daemon(environment.socket, [&](FakeConnection& connection) {
      const auto line = control::decode_request(connection.read_line());
      ASSERT_TRUE(line);
      request = std::get<control::UpRequest>(*line);
      connection.reply(reply);
    });
    return run(words);
  }

  control::UpRequest request;
};

TEST_F(UpTest, PrintsTheNewSwap) {
  EXPECT_EQ(run_up({"up", "--size", "7G", "--priority", "1500"}, one_segment()), kDone);
  EXPECT_EQ(out.str(), kOneSegmentTable);
  EXPECT_EQ(err.str(), "");
  EXPECT_EQ(request.size, control::Size{control::Bytes{7ULL << 30}});
  EXPECT_EQ(request.priority, 1500);
}

TEST_F(UpTest, TheCommandLineWinsOverTheFiles) {
  directory.write("vramswap.conf", "size = 1G\npriority = 1\nconnections = 1\ngpu = 0\ngpu = 1\n");
  directory.write("vramswap.conf.d/a.conf", "priority = 2\nconnections = 2\n");
  EXPECT_EQ(run_up({"up", "--priority", "3", "--gpu", "5"}, one_segment()), kDone);
  EXPECT_EQ(request.size, control::Size{control::Bytes{1ULL << 30}});
  EXPECT_EQ(request.connections, 2U);
  EXPECT_EQ(request.priority, 3);
  EXPECT_THAT(request.gpus, ElementsAre("5"));
}

TEST_F(UpTest, AFileThatIsNamedIsReadInsteadOfTheOthers) {
  directory.write("vramswap.conf", "broken");
  const auto mine = directory.write("mine", "size = 2G\n");
  EXPECT_EQ(run_up({"up", "--config", mine.c_str()}, one_segment()), kDone);
  EXPECT_EQ(request.size, control::Size{control::Bytes{2ULL << 30}});
}

TEST_F(UpTest, TheRamBackendIgnoresGpus) {
  directory.write("vramswap.conf", "gpu = 1\n");
  EXPECT_EQ(run_up({"up", "--size", "1G", "--backend", "ram"}, one_segment()), kDone);
  EXPECT_THAT(request.gpus, IsEmpty());
}

TEST_F(UpTest, ABrokenFileIsReportedWithItsLine) {
  const auto file = directory.write("vramswap.conf", "size = 7G\npriority = high\n");
  EXPECT_EQ(run({"up", "--priority", "5"}), kWrongUsage);
  EXPECT_EQ(err.str(), "vramswap: " + file.string() +
                           ":2: priority 'high': must be a whole number -1..32767\n");
}

TEST_F(UpTest, AFailureIsOneLineAndExitsWithOne) {
  EXPECT_EQ(run_up({"up", "--size", "7G"}, control::Failure{"up already: 7G on /dev/nbd0"}),
            kFailed);
  EXPECT_EQ(out.str(), "");
  EXPECT_EQ(err.str(), "vramswap: up already: 7G on /dev/nbd0\n");
}

TEST_F(UpTest, NeedsRootBeforeAnythingIsRead) {
  environment.is_root = false;
  directory.write("vramswap.conf", "broken");
  EXPECT_EQ(run({"up", "--size", "7G"}), kFailed);
  EXPECT_EQ(err.str(), "vramswap: up needs root: run it with sudo\n");
}

TEST_F(UpTest, StartsADaemonWhereNoneAnswers) {
  FakeDaemon::leave_dead_socket(environment.socket);
  const auto started = directory / "started";
  environment.start_daemon = [&](const std::filesystem::path& socket) {
    EXPECT_EQ(socket, environment.socket);
    return ControlClient::connect(started);
  };
  FakeDaemon daemon(started, [](FakeConnection& connection) {
    connection.read_line();
    connection.reply(one_segment());
  });
  EXPECT_EQ(run({"up", "--size", "7G"}), kDone);
  EXPECT_EQ(out.str(), kOneSegmentTable);
}

TEST_F(UpTest, TheDaemonsOwnErrorIsNotPrintedAgain) {
  environment.start_daemon = [](const auto&) -> Result<ControlClient> {
    return std::unexpected(Error{});
  };
  EXPECT_EQ(run({"up", "--size", "7G"}), kFailed);
  EXPECT_EQ(err.str(), "");
}

TEST_F(UpTest, ASocketThatCannotBeReachedStartsNothing) {
  environment.socket = directory.write("file", "") / "control";
  EXPECT_EQ(run({"up", "--size", "7G"}), kFailed);
  EXPECT_THAT(err.str(), HasSubstr("connect: ENOTDIR"));
}

}  // namespace
}  // namespace vramswap::swapctl
