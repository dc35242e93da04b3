#include <pthread.h>

#include <csignal>

#include "tests/support/mebibyte.hpp"
#include "tests/unit/swapctl/command_fixture.hpp"

namespace vramswap::swapctl {
namespace {

using testing::EndsWith;
using testing::HasSubstr;

constexpr std::uint64_t kGiB = 1024 * kMiB;

struct LendTest : CommandTest {
  int run_with(const std::vector<const char*>& words, const control::Reply& reply) {
    std::filesystem::remove(environment.socket);
    FakeDaemon daemon(environment.socket, [&](FakeConnection& connection) {
      const auto decoded = control::decode_request(connection.read_line());
      if (decoded) request = *decoded;
      connection.reply(reply);
    });
    return run(words);
  }
  const control::LendRequest& lend_request() { return std::get<control::LendRequest>(request); }

  control::Request request = control::StatusRequest{};
};

TEST_F(LendTest, SaysHowMuchIsFree) {
  directory.write("vramswap.conf", "broken");  // none of its business
  EXPECT_EQ(run_with({"lend", "4G"}, control::Lent{.freed_bytes = 4 * kGiB}), kDone);
  EXPECT_EQ(out.str(), "4G of VRAM are free for others on each card\n");
  EXPECT_EQ(err.str(), "");
  EXPECT_EQ(lend_request().bytes, 4 * kGiB);
  EXPECT_FALSE(lend_request().is_held);
  EXPECT_EQ(lend_request().wait, std::nullopt);
  EXPECT_EQ(lend_request().purpose, "vramswap lend");
}

TEST_F(LendTest, AsksForAllAndWaitsForSoLong) {
  EXPECT_EQ(run_with({"lend", "--wait", "5", "--all"}, control::Lent{.freed_bytes = kGiB}), kDone);
  EXPECT_EQ(lend_request().bytes, std::nullopt);
  EXPECT_EQ(lend_request().wait, std::chrono::seconds(5));
}

TEST_F(LendTest, SaysWhatIsMissingAndWhy) {
  EXPECT_EQ(run_with({"lend", "4G"}, control::Lent{.freed_bytes = 3 * kGiB,
                                                   .missing_bytes = kGiB,
                                                   .problem = "the time is over"}),
            kFailed);
  EXPECT_EQ(out.str(), "");
  EXPECT_EQ(err.str(), "vramswap: 1G of VRAM could not be freed, 3G are free: the time is over\n");
}

TEST_F(LendTest, ARefusalHasTheDaemonsReason) {
  EXPECT_EQ(run_with({"lend", "4G"}, control::Failure{"an up or down is in progress"}), kFailed);
  EXPECT_EQ(out.str(), "");
  EXPECT_EQ(err.str(), "vramswap: an up or down is in progress\n");
}

TEST_F(LendTest, WhoMayLendIsForTheDaemonToSay) {
  environment.is_root = false;
  EXPECT_EQ(run_with({"lend", "4G"}, control::Lent{.freed_bytes = 4 * kGiB}), kDone);
  EXPECT_EQ(run_with({"take-back"}, control::Done{}), kDone);
}

TEST_F(LendTest, ShowsProgressOnATerminalAndClearsIt) {
  for (const bool is_terminal : {true, false}) {
    environment.err_is_terminal = is_terminal;
    FakeDaemon daemon(environment.socket, [&](FakeConnection& connection) {
      connection.read_line();
      connection.reply(control::Progress{"NVIDIA H200", kGiB, 4 * kGiB});
      connection.reply(control::Lent{.freed_bytes = 4 * kGiB});
    });
    EXPECT_EQ(run({"lend", "4G"}), kDone);
    if (is_terminal) {
      EXPECT_THAT(err.str(), HasSubstr("free NVIDIA H200  [#####---------------]  1G of 4G  25%"));
      EXPECT_THAT(err.str(), EndsWith("\r\033[K"));
    } else {
      EXPECT_EQ(err.str(), "");
    }
    daemon.finish();
    std::filesystem::remove(environment.socket);
  }
}

TEST_F(LendTest, ADaemonThatEndsMeanwhileIsReported) {
  FakeDaemon daemon(environment.socket, [](FakeConnection& connection) { connection.read_line(); });
  EXPECT_EQ(run({"lend", "4G"}), kFailed);
  EXPECT_THAT(err.str(), HasSubstr("vramswapd ended before it answered"));
}

class LendSignalTest : public LendTest, public testing::WithParamInterface<int> {};
TEST_P(LendSignalTest, SaysThatTheLoanGoesOn) {
  const pthread_t client = pthread_self();
  bool hung_up = false;
  {
    FakeDaemon daemon(environment.socket, [&](FakeConnection& connection) {
      connection.read_line();
      pthread_kill(client, GetParam());
      hung_up = connection.read_line().empty();
    });
    EXPECT_EQ(run({"lend", "--all"}), kFailed);
  }
  EXPECT_TRUE(hung_up);
  EXPECT_EQ(out.str(), "");
  EXPECT_EQ(err.str(),
            "vramswap: interrupted: the daemon goes on; 'vramswap take-back' ends the loan\n");
}
INSTANTIATE_TEST_SUITE_P(Signals, LendSignalTest, testing::Values(SIGINT, SIGTERM));

TEST_F(LendTest, NothingUpIsAFailureAndStartsNothing) {
  const std::vector<std::vector<const char*>> commands = {{"lend", "--all"}, {"take-back"}};
  for (const auto& words : commands) {
    EXPECT_EQ(run(words), kFailed);
    EXPECT_EQ(err.str(), "vramswap: nothing is up\n");
  }
  FakeDaemon::leave_dead_socket(environment.socket);
  for (const auto& words : commands) {
    EXPECT_EQ(run(words), kFailed);
    EXPECT_EQ(err.str(), "vramswap: nothing is up\n");
  }
}

TEST_F(LendTest, TakeBackSaysNothingWhenItIsDone) {
  EXPECT_EQ(run_with({"take-back"}, control::Done{}), kDone);
  EXPECT_TRUE(std::holds_alternative<control::TakeBackRequest>(request));
  EXPECT_EQ(out.str(), "");
  EXPECT_EQ(err.str(), "");
}

TEST_F(LendTest, TakeBackSaysWhyItIsRefused) {
  EXPECT_EQ(run_with({"take-back"}, control::Failure{"nothing is lent"}), kFailed);
  EXPECT_EQ(out.str(), "");
  EXPECT_EQ(err.str(), "vramswap: nothing is lent\n");
}

}  // namespace
}  // namespace vramswap::swapctl
