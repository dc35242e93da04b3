// The words in which the service manager hears of the pool.
#include "daemon/supervisor/pool/status_line.hpp"

#include "tests/unit/supervisor/pool_fixture.hpp"

namespace vramswap {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

constexpr const char* kAllIsWell = "128M of swap on host memory, 2 segments";

class StatusLineTest : public PoolTest {
 protected:
  std::vector<std::string>& lines() { return machine_.service_manager.statuses; }
  std::string line() { return lines().empty() ? "" : lines().back(); }
  // Until the supervisor has looked around.
  void look() { machine_.pass(std::chrono::seconds(11)); }
};

TEST_F(StatusLineTest, SaysHowFarUpAndDownAre) {
  ASSERT_TRUE(up(2));
  EXPECT_THAT(lines(),
              ElementsAre("0 of 1 segments are swapped on", "0 of 2 segments are swapped on",
                          "1 of 2 segments are swapped on", kAllIsWell));
  lines().clear();
  ASSERT_TRUE(down());
  EXPECT_THAT(lines(), ElementsAre("taking the swap down", "no swap is up"));
}

TEST_F(StatusLineTest, IsSentOnlyWhenItChanges) {
  ASSERT_TRUE(up(2));
  lines().clear();
  machine_.pass(std::chrono::hours(1));
  EXPECT_THAT(lines(), ElementsAre());
}

TEST_F(StatusLineTest, AnUpThatFailsLeavesNoSwap) {
  machine_.steps.fail_at(4);
  ASSERT_FALSE(up(2));
  EXPECT_EQ(line(), "no swap is up");
}

TEST_F(StatusLineTest, NamesTheDevicesWhoseWorkerIsReplaced) {
  ASSERT_TRUE(up(2));
  lines().clear();
  kill_worker();
  recover();
  EXPECT_THAT(lines(), ElementsAre("replacing the worker of /dev/nbd0 to /dev/nbd1", kAllIsWell));
}

TEST_F(StatusLineTest, SaysWhyAWorkerCannotBeReplaced) {
  ASSERT_TRUE(up(1));
  machine_.launcher.fails_with[fake::kind_of<messages::Start>()] = EIO;
  kill_worker();
  machine_.pass(std::chrono::minutes(1));
  EXPECT_THAT(line(), StartsWith("degraded: the worker of /dev/nbd0 cannot be replaced yet: "));
  EXPECT_THAT(line(), HasSubstr(worker_status().problem));
  machine_.launcher.fails_with.clear();
  machine_.pass(std::chrono::minutes(1));
  EXPECT_EQ(line(), "64M of swap on host memory, 1 segment");
}

TEST_F(StatusLineTest, SaysWhyADeviceHasNotAllItsConnections) {
  ASSERT_TRUE(up(2));
  auto& worker = machine_.launcher.latest();
  worker.segments.at(1).connections.erase(1);
  machine_.nbd.drop_silently = 200;
  worker.tell(messages::ConnectionEnded{1, 1, ConnectionEnd::hung_up});
  machine_.pass(std::chrono::seconds(5));
  EXPECT_EQ(line(), "degraded: /dev/nbd1: the kernel takes no new sockets");
  machine_.nbd.drop_silently = 0;
  machine_.pass(std::chrono::seconds(5));
  EXPECT_EQ(line(), kAllIsWell);
}

TEST_F(StatusLineTest, NamesADeviceDisconnectedByOthers) {
  ASSERT_TRUE(up(2));
  disconnect_by_others(0);
  EXPECT_THAT(states(), ElementsAre("disconnected", "active"));
  EXPECT_EQ(line(), "degraded: somebody else has disconnected /dev/nbd0");
}

TEST_F(StatusLineTest, NamesADeviceSwappedOffByOthers) {
  ASSERT_TRUE(up(2));
  machine_.swap.turn_off("/dev/nbd1");
  look();
  EXPECT_EQ(line(), "degraded: somebody else has swapped off /dev/nbd1");
  machine_.swap.turn_off("/dev/nbd0");
  look();
  EXPECT_EQ(line(), "off: somebody else has swapped it off");
  ASSERT_TRUE(up(2));
  EXPECT_EQ(line(), kAllIsWell);
}

TEST_F(StatusLineTest, SaysThatAWorkerDozes) {
  ASSERT_TRUE(up(2));
  auto& worker = machine_.launcher.latest();
  worker.tell(messages::StateChanged{WorkerState::dozing});
  machine_.settle();
  EXPECT_EQ(line(),
            std::string(kAllIsWell) + "; the worker of " + worker_status().store + " is dozing");
  worker.tell(messages::StateChanged{WorkerState::serving});
  machine_.settle();
  EXPECT_EQ(line(), kAllIsWell);
}

TEST_F(StatusLineTest, CountsLostPages) {
  ASSERT_TRUE(up(2));
  pages(1).lose_corrupt(7);
  machine_.launcher.latest().tell(messages::LostPagesChanged{1});
  machine_.settle();
  EXPECT_EQ(line(), std::string(kAllIsWell) + "; 1 page lost");
}

TEST_F(StatusLineTest, SaysThatTheNextWorkerWillLackRoom) {
  machine_.launcher.context_bytes = 600 << 20;
  machine_.launcher.has_room = false;
  auto wanted = request(1);
  wanted.backend = control::Backend::vram;
  ASSERT_TRUE(machine_.run(pool_->up(wanted)));
  EXPECT_EQ(line(), "64M of swap on 1 GPU, 1 segment");
  look();
  EXPECT_EQ(line(), "64M of swap on 1 GPU, 1 segment; the card has no room for another context");
}

TEST_F(StatusLineTest, ANoteOfTheServiceGivesWayToADown) {
  ASSERT_TRUE(up(2));
  pool_->show_note("cannot stop yet: no memory");
  EXPECT_EQ(line(), "cannot stop yet: no memory");
  kill_worker();
  recover();
  EXPECT_EQ(line(), "cannot stop yet: no memory");
  lines().clear();
  ASSERT_TRUE(down());
  EXPECT_EQ(lines().front(), "taking the swap down");
}

TEST_F(StatusLineTest, ANewSupervisorNamesTheWorkerThatItWaitsFor) {
  ASSERT_TRUE(up(2));
  begin_supervisor();
  lines().clear();
  machine_.launcher.latest().stops_at = fake::kind_of<messages::Adopt>();
  std::optional<Result<void>> adopted;
  asio::co_spawn(
      machine_.io, [&]() -> awaitable<void> { adopted = co_await pool_->adopt({}); },
      asio::detached);
  machine_.pass(std::chrono::minutes(5));
  EXPECT_THAT(line(), StartsWith("cannot take over the swap yet: worker "));
  machine_.launcher.latest().go_on();
  machine_.run_until([&] { return adopted.has_value(); });
  recover();
  EXPECT_EQ(line(), kAllIsWell);
  // And one that finds nothing.
  ASSERT_TRUE(down());
  begin_supervisor();
  lines().clear();
  ASSERT_TRUE(adopt());
  EXPECT_THAT(lines(), ElementsAre("looking for swap of an earlier vramswapd", "no swap is up"));
}

TEST_F(StatusLineTest, AnUnsentLineIsSentLater) {
  ASSERT_TRUE(up(2));
  machine_.launcher.die_at_start = 1;
  kill_worker();
  EXPECT_THAT(line(), StartsWith("degraded: "));
  machine_.service_manager.takes_status = false;
  recover();
  EXPECT_THAT(line(), StartsWith("degraded: "));
  machine_.service_manager.takes_status = true;
  look();
  EXPECT_EQ(line(), kAllIsWell);
}

}  // namespace
}  // namespace vramswap
