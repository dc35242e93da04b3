// Workers that give no sign of life, and who may be killed for that.
#include "tests/unit/supervisor/pool_fixture.hpp"

namespace vramswap {
namespace {

using fake::kind_of;
using std::chrono::minutes;
using std::chrono::seconds;

class SignOfLifeTest : public PoolTest {
 protected:
  // The default hang time-out: that long it may be silent.
  static constexpr seconds kLimit{10};
  // A look comes up to 5 s after the silence began, and sees it when the limit is over.
  static constexpr seconds kLatest{15};

  std::size_t workers() const { return machine_.launcher.workers.size(); }
  fake::FakeWorker& first() { return *machine_.launcher.workers.front(); }
};

TEST_F(SignOfLifeTest, AWorkerThatIsStoppedForGoodIsReplaced) {
  ASSERT_TRUE(up());
  first().stop();
  machine_.pass(kLimit);
  EXPECT_TRUE(first().is_alive);
  machine_.pass(kLatest - kLimit);
  EXPECT_FALSE(first().is_alive);
  recover();
  expect_all_up(2);
  EXPECT_EQ(workers(), 2U);
  EXPECT_EQ(machine_.launcher.latest().segments.size(), 2U);
  ASSERT_TRUE(down());
  expect_nothing_left();
}

TEST_F(SignOfLifeTest, AWorkerThatAnswersInTimeIsLeftAlone) {
  ASSERT_TRUE(up(1));
  for (int i = 0; i < 20; ++i) {
    first().stop();
    machine_.pass(seconds(9));
    first().go_on();
    machine_.pass(seconds(3));
  }
  expect_all_up(1);
  EXPECT_EQ(workers(), 1U);
}

TEST_F(SignOfLifeTest, TheLimitFollowsTheHangTimeout) {
  auto patient = request(1);
  patient.hang_timeout = minutes(10);
  ASSERT_TRUE(machine_.run(pool_->up(patient)));
  first().stop();
  machine_.pass(minutes(10));
  EXPECT_TRUE(first().is_alive);
  machine_.pass(kLatest);
  EXPECT_FALSE(first().is_alive);
}

// A dozing worker is asked for nothing that would wake it.
TEST_F(SignOfLifeTest, ADozingWorkerAnswersAndIsLeftAlone) {
  ASSERT_TRUE(up(1));
  first().state = WorkerState::dozing;
  first().tell(messages::StateChanged{WorkerState::dozing});
  machine_.steps.clear();
  machine_.pass(minutes(5));
  EXPECT_EQ(workers(), 1U);
  EXPECT_EQ(worker_status().state, "dozing");
  for (const std::string& step : machine_.steps.names()) EXPECT_EQ(step, "Adopt");
}

TEST_F(SignOfLifeTest, AWorkerThatDoesNotWakeUpIsReplaced) {
  ASSERT_TRUE(up(1));
  first().tell(messages::StateChanged{WorkerState::dozing});
  machine_.settle();
  first().tell(messages::StateChanged{WorkerState::waking});
  first().stop();
  machine_.pass(kLatest);
  EXPECT_FALSE(first().is_alive);
  recover();
  expect_all_up(1);
}

// No worker had time to answer.
TEST_F(SignOfLifeTest, AMachineThatWasAsleepIsNoReasonToKillAWorker) {
  ASSERT_TRUE(up(1));
  for (int i = 0; i < 20; ++i) {
    first().stop();
    machine_.pass(seconds(4));
    machine_.clock.sleep_through(minutes(30));
    machine_.pass(seconds(4));
    first().go_on();
    machine_.pass(seconds(4));
  }
  expect_all_up(1);
  EXPECT_EQ(workers(), 1U);
}

// Each of them answers the requests that it needs to serve, and then none.
TEST_F(SignOfLifeTest, NoMoreThanOneWorkerIsKilledInAHangTimeout) {
  machine_.launcher.stops_at = kind_of<messages::Ping>();
  ASSERT_TRUE(up(1));
  machine_.pass(minutes(10));
  EXPECT_GE(workers(), 20U);
  EXPECT_LE(workers(), 1U + minutes(10) / kLimit);
}

// The driver may take long over a context, and the kernel over memory: such a call has a limit of
// its own.
TEST_F(SignOfLifeTest, AStartMayTakeLongerThanTheHangTimeout) {
  ASSERT_TRUE(up(1));
  for (const std::size_t kind : {kind_of<messages::Start>(), kind_of<messages::Import>()}) {
    machine_.launcher.stops_at = kind;
    const std::size_t before = workers();
    machine_.launcher.latest().die();
    machine_.pass(seconds(50));
    EXPECT_EQ(workers(), before + 1);
    machine_.launcher.latest().go_on();
    recover();
    expect_all_up(1);
    EXPECT_EQ(workers(), before + 1);
  }
}

TEST_F(SignOfLifeTest, AStartThatNeverEndsIsTriedAgain) {
  ASSERT_TRUE(up(1));
  machine_.launcher.stops_at = kind_of<messages::Start>();
  kill_worker();
  machine_.pass(seconds(61));
  EXPECT_EQ(living_workers(), 1U);
  EXPECT_EQ(workers(), 3U);
}

// Without a service manager no other process has its memory before it has handed that over.
TEST_F(SignOfLifeTest, TheOnlyHolderOfTheMemoryIsNeverKilled) {
  ASSERT_TRUE(up(2));
  begin_supervisor();
  first().stops_at = kind_of<messages::HandOver>();
  std::optional<Result<void>> adopted;
  asio::co_spawn(
      machine_.io, [&]() -> awaitable<void> { adopted = co_await pool_->adopt({}); },
      asio::detached);
  machine_.pass(minutes(5));
  EXPECT_TRUE(first().is_alive);
  EXPECT_EQ(workers(), 1U);
  EXPECT_FALSE(adopted);
  first().go_on();
  machine_.run_until([&] { return adopted.has_value(); });
  ASSERT_TRUE(*adopted) << adopted->error().message;
  recover();
  expect_all_up(2);
}

// Once the memory is handed over, an adopted worker is as any other.
TEST_F(SignOfLifeTest, AnAdoptedWorkerThatIsStoppedIsReplaced) {
  ASSERT_TRUE(up(2));
  begin_supervisor();
  ASSERT_TRUE(adopt());
  first().stop();
  machine_.pass(kLatest);
  EXPECT_FALSE(first().is_alive);
  recover();
  expect_all_up(2);
}

}  // namespace
}  // namespace vramswap
