#include "daemon/supervisor/pool/recovery_reserve.hpp"

#include "tests/unit/supervisor/pool_fixture.hpp"

namespace vramswap {
namespace {

class RecoveryReserveTest : public testing::Test {
 protected:
  static constexpr std::uint64_t kWorkerBytes = 64 << 20;
  static constexpr std::uint64_t kReserveBytes = kWorkerBytes + kWorkerBytes / 8;

  RecoveryReserveTest() {
    reserve_.set_worker_bytes(kWorkerBytes);
    EXPECT_TRUE(machine_.run(reserve_.fill()));
    EXPECT_EQ(memory_.held, kReserveBytes);
  }
  ~RecoveryReserveTest() override { machine_.pass(std::chrono::seconds(1)); }

  fake::FakeMachine machine_;
  fake::FakeMemoryReserve& memory_ = machine_.memory_reserve;
  fake::FakeLastResort& last_resort_ = machine_.last_resort;
  std::uint64_t& available_ = machine_.swap.memory_info.available_bytes;
  RecoveryReserve reserve_{machine_.interfaces, true};
};

// Before the caller makes a process, which takes memory itself.
TEST_F(RecoveryReserveTest, TheFirstPartIsGivenUpAtOnceWhereMemoryIsShort) {
  available_ = 0;
  const auto start = reserve_.begin_start();
  EXPECT_LT(memory_.held, kReserveBytes);
}

TEST_F(RecoveryReserveTest, WhereMemoryIsNotShortNothingIsGivenUpAtOnce) {
  const auto start = reserve_.begin_start();
  machine_.pass(std::chrono::milliseconds(100));
  EXPECT_EQ(memory_.held, kReserveBytes);
  machine_.pass(std::chrono::seconds(1));
  EXPECT_LT(memory_.held, kReserveBytes);
}

TEST_F(RecoveryReserveTest, TheLastResortStandsByWhileAWorkerStarts) {
  EXPECT_FALSE(last_resort_.needed);
  auto start = reserve_.begin_start();
  EXPECT_EQ(last_resort_.needed, kReserveBytes);
  {
    const auto second = reserve_.begin_start();
    machine_.pass(std::chrono::seconds(1));
  }
  machine_.pass(std::chrono::seconds(1));
  EXPECT_EQ(last_resort_.needed, kReserveBytes);
  EXPECT_EQ(last_resort_.begun, 1U);
  start.leave();
  machine_.pass(std::chrono::milliseconds(10));
  EXPECT_FALSE(last_resort_.needed);
}

TEST_F(RecoveryReserveTest, IsFilledAgainWhenNoWorkerStartsOrIsBeingRecovered) {
  available_ = 0;
  auto recovery = reserve_.begin_recovery();
  {
    const auto start = reserve_.begin_start();
    machine_.pass(std::chrono::milliseconds(10));
  }
  const std::uint64_t left = memory_.held;
  EXPECT_LT(left, kReserveBytes);
  reserve_.refill();
  machine_.pass(std::chrono::seconds(1));
  EXPECT_EQ(memory_.held, left);
  recovery.leave();
  reserve_.refill();
  machine_.pass(std::chrono::seconds(1));
  EXPECT_TRUE(memory_.is_full());
}

// The kernel finds no memory for the reserve; the reactor keeps running, and a worker that starts
// gets the memory that is there.
TEST_F(RecoveryReserveTest, AWorkerMayStartWhileTheReserveWaitsForMemory) {
  available_ = 0;
  memory_.release_step();
  memory_.fill_waits = true;
  reserve_.refill();
  machine_.pass(std::chrono::seconds(1));
  const std::uint64_t before = memory_.held;
  const auto start = reserve_.begin_start();
  EXPECT_LT(memory_.held, before);
  memory_.go_on();
}

// By the pool: a card that stays away is no reason to kill a program.
class PoolLastResortTest : public PoolTest {};

TEST_F(PoolLastResortTest, StandsByOnlyWhileAWorkerHasNotAnswered) {
  ASSERT_TRUE(up(1));
  EXPECT_EQ(machine_.last_resort.begun, 0U);
  machine_.swap.memory_info.available_bytes = 0;
  machine_.launcher.die_at_start = 1000;
  kill_worker();
  for (int i = 0; i < 100; ++i) {
    machine_.pass(std::chrono::milliseconds(737));
    EXPECT_FALSE(machine_.last_resort.needed && living_workers() == 0);
  }
  machine_.launcher.die_at_start = 0;
  machine_.pass(std::chrono::seconds(20));
  expect_all_up(1);
  EXPECT_FALSE(machine_.last_resort.needed);
}

TEST_F(PoolLastResortTest, StandsByForAWorkerThatWakes) {
  ASSERT_TRUE(up(1));
  machine_.launcher.latest().tell(messages::StateChanged{WorkerState::waking});
  machine_.settle();
  EXPECT_TRUE(machine_.last_resort.needed);
  machine_.launcher.latest().tell(messages::StateChanged{WorkerState::serving});
  machine_.pass(std::chrono::milliseconds(10));
  EXPECT_FALSE(machine_.last_resort.needed);
}

TEST_F(PoolLastResortTest, StandsByForAWorkerThatDoesNotAnswerItsStart) {
  ASSERT_TRUE(up(1));
  machine_.launcher.answer = false;
  kill_worker();
  machine_.pass(std::chrono::seconds(15));
  EXPECT_TRUE(machine_.last_resort.needed);
  machine_.launcher.answer = true;
  machine_.pass(std::chrono::minutes(2));
  EXPECT_FALSE(machine_.last_resort.needed);
  expect_all_up(1);
}

}  // namespace
}  // namespace vramswap
