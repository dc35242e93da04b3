#include "tests/unit/swapctl/command_fixture.hpp"

namespace vramswap::swapctl {
namespace {

using testing::HasSubstr;

struct ReloadTest : CommandTest {
  int run_reload(const control::Reply& reply) {
    FakeDaemon daemon(environment.socket, [&](FakeConnection& connection) {
      const auto request = control::decode_request(connection.read_line());
      is_reload = request && std::holds_alternative<control::ReloadRequest>(*request);
      connection.reply(reply);
    });
    return run({"reload"});
  }
  bool is_reload = false;
};

TEST_F(ReloadTest, PrintsTheNewStatus) {
  directory.write("vramswap.conf", "broken");  // none of its business
  EXPECT_EQ(run_reload(one_segment()), kDone);
  EXPECT_TRUE(is_reload);
  EXPECT_EQ(out.str(), kOneSegmentTable);
  EXPECT_EQ(err.str(), "");
}

TEST_F(ReloadTest, ARefusalHasTheDaemonsReason) {
  EXPECT_EQ(run_reload(control::Failure{"an up or down is in progress"}), kFailed);
  EXPECT_TRUE(is_reload);
  EXPECT_EQ(out.str(), "");
  EXPECT_EQ(err.str(), "vramswap: an up or down is in progress\n");
}

TEST_F(ReloadTest, ADaemonThatEndsMeanwhileIsReported) {
  FakeDaemon daemon(environment.socket, [](FakeConnection& connection) { connection.read_line(); });
  EXPECT_EQ(run({"reload"}), kFailed);
  EXPECT_THAT(err.str(), HasSubstr("vramswapd ended before it answered"));
}

TEST_F(ReloadTest, NothingUpIsAFailureAndStartsNothing) {
  EXPECT_EQ(run({"reload"}), kFailed);
  EXPECT_EQ(err.str(), "vramswap: nothing is up\n");
  FakeDaemon::leave_dead_socket(environment.socket);
  EXPECT_EQ(run({"reload"}), kFailed);
  EXPECT_EQ(err.str(), "vramswap: nothing is up\n");
}

TEST_F(ReloadTest, NeedsRoot) {
  environment.is_root = false;
  EXPECT_EQ(run({"reload"}), kFailed);
  EXPECT_EQ(err.str(), "vramswap: reload needs root: run it with sudo\n");
}

}  // namespace
}  // namespace vramswap::swapctl
