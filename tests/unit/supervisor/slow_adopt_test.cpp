// A supervisor follows one that has died, and something happens meanwhile.
#include <algorithm>
#include <cerrno>
#include <optional>

#include "tests/unit/supervisor/pool_fixture.hpp"

namespace vramswap {
namespace {

class SlowAdoptTest : public PoolTest {
 protected:
  // The result of the last adoption; nothing while it runs.
  std::optional<Result<void>>& begin_adoption(NamedFds inherited = {}) {
    adopted_.reset();
    asio::co_spawn(
        machine_.io,
        [](SlowAdoptTest& test, NamedFds fds) -> awaitable<void> {
          test.adopted_ = co_await test.pool_->adopt(std::move(fds));
        }(*this, std::move(inherited)),
        asio::detached);
    return adopted_;
  }

 private:
  std::optional<Result<void>> adopted_;
};

// By the dead supervisor's mkswap, which is ending.
TEST_F(SlowAdoptTest, ABrieflyHeldDeviceDoesNotCountAsSwap) {
  ASSERT_TRUE(up(1));
  end_supervisor();
  machine_.swap.turn_off("/dev/nbd0");
  machine_.swap.held.insert("/dev/nbd0");
  begin_supervisor();
  auto& adopted = begin_adoption();
  machine_.pass(std::chrono::milliseconds(300));
  machine_.swap.held.clear();
  machine_.run_until([&] { return adopted.has_value(); });
  ASSERT_TRUE(*adopted);
  recover();
  EXPECT_THAT(states(), testing::ElementsAre("off"));
}

// It may hold the only descriptors of the pages: it is never killed, and taken over when it
// answers.
TEST_F(SlowAdoptTest, AWorkerThatDoesNotAnswerIsWaitedFor) {
  for (const std::size_t request :
       {fake::kind_of<messages::Adopt>(), fake::kind_of<messages::HandOver>()}) {
    SCOPED_TRACE(request);
    ASSERT_TRUE(up());
    begin_supervisor();
    auto& worker = machine_.launcher.latest();
    worker.stops_at = request;
    auto& adopted = begin_adoption();
    machine_.pass(std::chrono::minutes(10));
    EXPECT_FALSE(adopted);
    EXPECT_TRUE(worker.is_alive);
    worker.go_on();
    machine_.run_until([&] { return adopted.has_value(); });
    ASSERT_TRUE(*adopted) << adopted->error().message;
    machine_.pass(std::chrono::seconds(1));
    expect_all_up(2);
    ASSERT_TRUE(down());
    expect_nothing_left();
  }
}

TEST_F(SlowAdoptTest, AWorkerThatCannotHandItsMemoryOverAtTheMomentIsAskedAgain) {
  ASSERT_TRUE(up());
  begin_supervisor();
  auto& worker = machine_.launcher.latest();
  worker.fails_with[fake::kind_of<messages::HandOver>()] = EMFILE;
  auto& adopted = begin_adoption();
  machine_.pass(std::chrono::seconds(20));
  worker.fails_with.clear();
  machine_.run_until([&] { return adopted.has_value(); });
  ASSERT_TRUE(*adopted) << adopted->error().message;
  machine_.pass(std::chrono::seconds(1));
  expect_all_up(2);
}

// If that worker died between two attempts, its memory would else go with it.
TEST_F(SlowAdoptTest, HandedOverMemoryIsKeptForTheNextAttempt) {
  const auto hand_over = fake::kind_of<messages::HandOver>();
  ASSERT_TRUE(up(2));
  begin_supervisor();
  auto& worker = machine_.launcher.latest();
  worker.stops_at = hand_over;
  auto& adopted = begin_adoption();
  machine_.pass(std::chrono::seconds(1));
  worker.go_on();
  worker.stops_at = hand_over;  // the second one
  machine_.pass(std::chrono::minutes(10));
  EXPECT_FALSE(adopted);
  machine_.steps.clear();
  worker.go_on();
  machine_.run_until([&] { return adopted.has_value(); });
  ASSERT_TRUE(*adopted) << adopted->error().message;
  EXPECT_EQ(std::ranges::count(machine_.steps.names(), std::string("HandOver")), 1);
  machine_.pass(std::chrono::seconds(1));
  expect_all_up(2);
}

// It answers after the supervisor has stopped waiting.
TEST_F(SlowAdoptTest, AWorkerWithoutADescriptionIsNotKilledForItsSilence) {
  ASSERT_TRUE(up(1));
  begin_supervisor();
  auto& worker = machine_.launcher.latest();
  worker.description.clear();
  worker.segments.at(0).connections.clear();
  machine_.service_manager.fdstore.clear();
  machine_.nbd.devices.clear();
  machine_.swap.turn_off("/dev/nbd0");
  worker.stops_at = fake::kind_of<messages::Remove>();
  auto& adopted = begin_adoption();
  machine_.pass(std::chrono::seconds(50));
  EXPECT_TRUE(worker.is_alive);
  worker.go_on();
  machine_.run_until([&] { return adopted.has_value(); });
  ASSERT_TRUE(*adopted) << adopted->error().message;
  expect_nothing_left();
}

// The report comes after the worker's list of segments, and before the supervisor has a segment.
TEST_F(SlowAdoptTest, AConnectionThatEndsDuringTheAdoptionIsRestored) {
  for (const std::string step : {"Adopt", "HandOver"}) {
    SCOPED_TRACE(step);
    ASSERT_TRUE(up(1));
    begin_supervisor();
    auto& worker = machine_.launcher.latest();
    auto& connections = worker.segments.at(0).connections;
    machine_.steps.clear();
    auto& adopted = begin_adoption();
    run_until_step(step);
    connections.erase(1);
    worker.tell(messages::ConnectionEnded{0, 1, ConnectionEnd::hung_up});
    machine_.run_until([&] { return adopted.has_value(); });
    ASSERT_TRUE(*adopted) << adopted->error().message;
    machine_.pass(std::chrono::seconds(1));
    EXPECT_EQ(connections.size(), kConnections);
    expect_all_up(1);
    ASSERT_TRUE(down());
    expect_nothing_left();
  }
}

TEST_F(SlowAdoptTest, AWorkerThatDiesDuringTheAdoptionIsReplaced) {
  ASSERT_TRUE(up(1));
  begin_supervisor();
  machine_.steps.clear();
  auto& adopted = begin_adoption(fdstore());
  run_until_step("Adopt");
  machine_.launcher.latest().die();
  machine_.run_until([&] { return adopted.has_value(); });
  ASSERT_TRUE(*adopted) << adopted->error().message;
  machine_.pass(std::chrono::seconds(1));
  expect_all_up(1);
  ASSERT_TRUE(down());
  expect_nothing_left();
}

}  // namespace
}  // namespace vramswap
