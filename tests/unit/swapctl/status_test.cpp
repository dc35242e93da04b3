
#include "daemon/base/json.hpp"
#include "tests/unit/swapctl/command_fixture.hpp"

namespace vramswap::swapctl {
namespace {

using testing::HasSubstr;

struct StatusTest : CommandTest {
  int run_status(const std::vector<const char*>& words, const control::Reply& reply) {
    FakeDaemon daemon(environment.socket, [&](FakeConnection& connection) {
      connection.read_line();
      connection.reply(reply);
    });
    return run(words);
  }
};

TEST_F(StatusTest, ShowsTheSwapToAnyUser) {
  environment.is_root = false;
  directory.write("vramswap.conf", "broken");
  EXPECT_EQ(run_status({"status"}, one_segment()), kDone);
  EXPECT_EQ(out.str(), kOneSegmentTable);
  EXPECT_EQ(err.str(), "");
}

TEST_F(StatusTest, JsonIsForPrograms) {
  EXPECT_EQ(run_status({"status", "--json"}, one_segment()), kDone);
  const auto json = parse_json(out.str());
  EXPECT_EQ(json.at("daemon").at("pid"), 42);
  EXPECT_EQ(json.at("segments").at(0).at("used_bytes"), 512ULL << 20);
}

TEST_F(StatusTest, ShowsWhatIsLent) {
  auto status = one_segment();
  status.lent_bytes = 1ULL << 30;
  status.loans = {{.is_held = true, .purpose = "game", .since = 1700000000}};
  EXPECT_EQ(run_status({"status"}, status), kDone);
  EXPECT_THAT(out.str(), HasSubstr("\n1G of VRAM are lent\n  all to game since 2023-"));
  std::filesystem::remove(environment.socket);
  EXPECT_EQ(run_status({"status", "--json"}, status), kDone);
  EXPECT_EQ(parse_json(out.str()).at("loans").at(0).at("purpose"), "game");
}

TEST_F(StatusTest, PrometheusReadsIt) {
  EXPECT_EQ(run_status({"status", "--prometheus"}, one_segment()), kDone);
  EXPECT_THAT(out.str(), HasSubstr("\nvramswap_up 1\n"));
  EXPECT_THAT(out.str(), HasSubstr("\nvramswap_used_bytes{device=\"/dev/nbd0\","));
  EXPECT_EQ(err.str(), "");
}

TEST_F(StatusTest, PrometheusLearnsThatTheDaemonFails) {
  EXPECT_EQ(run_status({"status", "--prometheus"}, control::Failure{"out of order"}), kFailed);
  EXPECT_THAT(out.str(), HasSubstr("\nvramswap_up 0\n"));
  EXPECT_EQ(err.str(), "vramswap: out of order\n");
}

TEST_F(StatusTest, PrometheusLearnsThatNothingIsUp) {
  EXPECT_EQ(run({"status", "--prometheus"}), kNothingUp);
  EXPECT_THAT(out.str(), HasSubstr("\nvramswap_up 0\n"));
  const control::Status idle{.version = "0.1.0", .supervisor_pid = 42, .segments = {}};
  EXPECT_EQ(run_status({"status", "--prometheus"}, idle), kNothingUp);
  EXPECT_THAT(out.str(), HasSubstr("\nvramswap_up 1\n"));
}

TEST_F(StatusTest, WithoutADaemonNothingIsUp) {
  EXPECT_EQ(run({"status"}), kNothingUp);
  EXPECT_EQ(out.str(), "");
  EXPECT_EQ(err.str(), "vramswap: nothing is up\n");
  FakeDaemon::leave_dead_socket(environment.socket);
  EXPECT_EQ(run({"status", "--json"}), kNothingUp);
  EXPECT_TRUE(parse_json(out.str()).at("daemon").is_null());
}

TEST_F(StatusTest, ADaemonWithoutSegmentsHasNothingUp) {
  const control::Status idle{.version = "0.1.0", .supervisor_pid = 42, .segments = {}};
  EXPECT_EQ(run_status({"status", "--json"}, idle), kNothingUp);
  EXPECT_EQ(parse_json(out.str()).at("daemon").at("pid"), 42);
  EXPECT_EQ(err.str(), "vramswap: nothing is up\n");
}

TEST_F(StatusTest, ADaemonThatFailsIsNotNothing) {
  EXPECT_EQ(run_status({"status"}, control::Failure{"out of order"}), kFailed);
  EXPECT_EQ(err.str(), "vramswap: out of order\n");
}

TEST_F(StatusTest, ADaemonThatIsStuckIsReported) {
  environment.status_limit = std::chrono::milliseconds(100);
  FakeDaemon daemon(environment.socket, [](FakeConnection& connection) {
    connection.read_line();
    connection.read_line();
  });
  EXPECT_EQ(run({"status"}), kFailed);
  EXPECT_EQ(err.str(), "vramswap: vramswapd has not answered for 0.1 s: see its log\n");
}

}  // namespace
}  // namespace vramswap::swapctl
