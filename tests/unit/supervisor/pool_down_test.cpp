// `down`, and the things that a failed one leaves as they were.
#include "daemon/supervisor/spawn.hpp"
#include "tests/unit/supervisor/pool_fixture.hpp"

namespace vramswap {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST_F(PoolTest, DownLeavesNothing) {
  ASSERT_TRUE(up());
  ASSERT_TRUE(down());
  expect_nothing_left();
}

TEST_F(PoolTest, NothingIsUpToTakeDown) {
  EXPECT_EQ(down().error().message, "nothing is up");
}

TEST_F(PoolTest, ASwapoffThatFailsAfterOthersPutsThemBack) {
  ASSERT_TRUE(up(3));
  machine_.steps.clear();
  // The lowest rank first: nbd2 comes off, nbd1 fails.
  machine_.swap.unreadable.insert("/dev/nbd1");
  const auto result = down();
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, HasSubstr("; the swap is up as before"));
  EXPECT_THAT(
      machine_.steps.names(),
      ElementsAre("Describe", "read /dev/nbd2", "set timeout", "swapoff /dev/nbd2", "set timeout",
                  "read /dev/nbd1", "mkswap /dev/nbd2", "swapon /dev/nbd2", "Describe"));
  expect_all_up(3);
}

TEST_F(PoolTest, PagesAreAskedForAheadOfASwapoffAndNotAfterIt) {
  ASSERT_TRUE(up());
  machine_.swap.off_waits.insert("/dev/nbd0");
  spawn(machine_.io,
        [](Pool& pool) -> awaitable<void> { (void)co_await pool.down(false, {}); }(*pool_));
  machine_.settle();
  EXPECT_THAT(machine_.swap.read_aheads, ElementsAre("/dev/nbd0"));
  pool_->cancel_down();
  machine_.settle();
  EXPECT_THAT(machine_.swap.read_aheads, IsEmpty());
}

// Its request would take its neighbours along.
TEST_F(PoolTest, NothingIsAskedForAheadWhileAPageIsLost) {
  ASSERT_TRUE(up(1));
  machine_.swap.off_waits.insert("/dev/nbd0");
  for (const bool is_lost_before : {false, true}) {
    spawn(machine_.io,
          [](Pool& pool) -> awaitable<void> { (void)co_await pool.down(false, {}); }(*pool_));
    machine_.settle();
    EXPECT_EQ(machine_.swap.read_aheads.size(), is_lost_before ? 0U : 1U);
    pages(0).lose_corrupt(7);
    machine_.launcher.latest().tell(messages::LostPagesChanged{0});
    machine_.settle();
    EXPECT_THAT(machine_.swap.read_aheads, IsEmpty());
    pool_->cancel_down();
    machine_.settle();
  }
}

TEST_F(PoolTest, ADeviceThatCannotBeSwappedOnAgainIsNamed) {
  ASSERT_TRUE(up(3));
  machine_.swap.unreadable.insert("/dev/nbd1");
  machine_.steps.fail_at(7);  // swapon of nbd2, after nbd1 has failed
  const auto result = down();
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message,
              HasSubstr("; the swap is up as before, except that /dev/nbd2 stays off: swapon"));
  EXPECT_THAT(states(), ElementsAre("active", "active", "connected"));
  machine_.swap.unreadable.clear();
  ASSERT_TRUE(down());
  expect_nothing_left();
}

TEST_F(PoolTest, WhateverStepOfDownFailsItIsUpAsBeforeOrMayBeTakenDownAgain) {
  for (std::size_t step = 0;; ++step) {
    ASSERT_TRUE(up());
    machine_.steps.clear();
    machine_.steps.fail_at(step);
    const auto result = down();
    if (!machine_.steps.has_failed()) break;
    SCOPED_TRACE(machine_.steps.names().at(step));
    const std::string& failed = machine_.steps.names().at(step);
    // A netlink call that fails once is made again; a store is freed without being scrubbed.
    const bool is_logged_only = failed.starts_with("disconnect") || failed == "Remove" ||
                                failed == "Describe" || (failed == "set timeout" && result);
    if (is_logged_only) {
      ASSERT_TRUE(result);
    } else {
      ASSERT_FALSE(result);
      expect_all_up(2);
      ASSERT_TRUE(down());
    }
    expect_nothing_left();
  }
}

TEST_F(PoolTest, WhereTheKernelDoesNotDisconnectDownMayBeTriedAgain) {
  ASSERT_TRUE(up());
  machine_.nbd.refuses_disconnect = true;
  EXPECT_EQ(down().error().message, "not everything could be freed; see the log");
  ASSERT_TRUE(pool_->is_up());
  machine_.nbd.refuses_disconnect = false;
  ASSERT_TRUE(down());
  expect_nothing_left();
}

// A read that failed would have swapoff(2) give its page up.
TEST_F(PoolTest, TheKernelQueuesForAsLongAsSwapoffTakes) {
  ASSERT_TRUE(up(1));
  const auto before = machine_.nbd.devices.at(0).dead_timeout;
  machine_.swap.off_waits.insert("/dev/nbd0");
  std::optional<Result<void>> result;
  spawn(machine_.io, [](Pool& pool, std::optional<Result<void>>& into) -> awaitable<void> {
    into = co_await pool.down(true, {});
  }(*pool_, result));
  machine_.pass(std::chrono::seconds(1));
  EXPECT_GT(machine_.nbd.devices.at(0).dead_timeout, std::chrono::hours(24));
  pool_->cancel_down();
  machine_.run_until([&] { return result.has_value(); });
  EXPECT_FALSE(*result);
  EXPECT_EQ(machine_.nbd.devices.at(0).dead_timeout, before);
}

// The supervisor before this one has died in it, and the kernel has not seen its signal yet.
TEST_F(PoolTest, ASwapoffThatIsUnderWayAlreadyIsWaitedFor) {
  ASSERT_TRUE(up(1));
  machine_.swap.refuse_offs = 3;
  ASSERT_TRUE(down());
  expect_nothing_left();
}

TEST_F(PoolTest, ADeviceSwappedOffByOthersIsShownAndTakenDown) {
  ASSERT_TRUE(up(2));
  machine_.swap.turn_off("/dev/nbd1");
  EXPECT_THAT(states(), ElementsAre("active", "off"));
  ASSERT_TRUE(down());
  expect_nothing_left();
}

TEST_F(PoolTest, UpBringsBackADeviceSwappedOffByOthers) {
  ASSERT_TRUE(up(3));
  machine_.swap.turn_off("/dev/nbd0");
  machine_.swap.turn_off("/dev/nbd2");
  EXPECT_THAT(states(), ElementsAre("off", "active", "off"));
  EXPECT_THAT(up(2).error().message, HasSubstr("up already"));
  machine_.steps.clear();
  machine_.steps.fail_at(1);  // swapon
  ASSERT_FALSE(up(3));
  EXPECT_THAT(states(), ElementsAre("off", "active", "off"));
  ASSERT_TRUE(up(3));
  expect_all_up(3);
  EXPECT_THAT(up(3).error().message, HasSubstr("up already"));
}

// The kernel then regards the device as not connected, for as long as it is swap.
class DisconnectedTest : public PoolTest {
 protected:
  void disconnect_in_use() {
    machine_.swap.set_used("/dev/nbd0", 64 << 10);
    disconnect_by_others(0);
  }
};

TEST_F(DisconnectedTest, AWorkerThatDiesDuringAForcedSwapoffLeavesTheSegmentInterrupted) {
  ASSERT_TRUE(up(1));
  disconnect_in_use();
  machine_.swap.off_waits.insert("/dev/nbd0");
  machine_.launcher.die_at_start = 1000;
  std::optional<Result<void>> result;
  asio::co_spawn(
      machine_.io, [&]() -> awaitable<void> { result = co_await pool_->down(true, {}); },
      asio::detached);
  run_until_step("swapoff /dev/nbd0");
  kill_worker();
  machine_.run_until([&] { return result.has_value(); });
  ASSERT_FALSE(*result);
  machine_.swap.set_used("/dev/nbd0", 0);
  EXPECT_THAT(down().error().message, HasSubstr("not while it is interrupted"));
}

TEST_F(DisconnectedTest, ADeviceDisconnectedByOthersIsShownAndLosesNoPageUnasked) {
  for (const bool is_forced : {true, false}) {
    ASSERT_TRUE(up(1));
    disconnect_in_use();
    EXPECT_THAT(states(), ElementsAre("disconnected"));
    EXPECT_THAT(down().error().message, HasSubstr("the 64K in use there cannot be read"));
    EXPECT_THAT(states(), ElementsAre("disconnected"));
    if (!is_forced) machine_.swap.set_used("/dev/nbd0", 0);
    ASSERT_TRUE(down(is_forced));
    expect_nothing_left();
  }
}

TEST_F(PoolTest, ACancelledDownLeavesTheSwapUp) {
  ASSERT_TRUE(up());
  machine_.swap.off_waits.insert("/dev/nbd0");
  std::optional<Result<void>> result;
  asio::co_spawn(
      machine_.io, [&]() -> awaitable<void> { result = co_await pool_->down(false, {}); },
      asio::detached);
  machine_.settle();
  EXPECT_THAT(states(), ElementsAre("swapping-off", "connected"));
  EXPECT_EQ(up().error().message, "another up or down is in progress");
  EXPECT_EQ(down().error().message, "another up or down is in progress");
  pool_->cancel_down();
  machine_.run_until([&] { return result.has_value(); });
  EXPECT_EQ(result->error().message, "cancelled: the swap is up as before");
  expect_all_up(2);
}

TEST_F(PoolTest, ProgressNamesTheDeviceAndTheBytesThatAreBack) {
  ASSERT_TRUE(up());
  machine_.swap.set_used("/dev/nbd0", 3 << 20);
  machine_.swap.off_waits.insert("/dev/nbd0");
  std::vector<control::Progress> reports;
  std::optional<Result<void>> result;
  asio::co_spawn(
      machine_.io,
      [&]() -> awaitable<void> {
        result = co_await pool_->down(
            false, [&](const control::Progress& progress) { reports.push_back(progress); });
      },
      asio::detached);
  machine_.pass(std::chrono::milliseconds(300));
  machine_.swap.set_used("/dev/nbd0", 1 << 20);
  machine_.pass(std::chrono::milliseconds(300));
  pool_->cancel_down();
  machine_.run_until([&] { return result.has_value(); });
  machine_.pass(std::chrono::seconds(2));
  ASSERT_EQ(reports.size(), 2U);
  EXPECT_EQ(reports[0].device, "/dev/nbd0");
  EXPECT_EQ(reports[0].done_bytes, 0U);
  EXPECT_EQ(reports[1].done_bytes, 2U << 20);
  EXPECT_EQ(reports[1].total_bytes, 3U << 20);
}

TEST_F(PoolTest, SomebodyElseHasSwappedItOff) {
  ASSERT_TRUE(up(1));
  machine_.steps.clear();
  machine_.steps.fail_at(3);  // swapoff, after the read
  machine_.swap.turn_off("/dev/nbd0");
  ASSERT_TRUE(down());
  expect_nothing_left();
}

TEST_F(PoolTest, ADeviceThatIsSwapIsNeverDisconnected) {
  ASSERT_TRUE(up(1));
  machine_.swap.off_waits.clear();
  // The kernel's state counts, not this program's memory of it.
  std::optional<Result<void>> result;
  machine_.swap.off_waits.insert("/dev/nbd0");
  asio::co_spawn(
      machine_.io, [&]() -> awaitable<void> { result = co_await pool_->down(false, {}); },
      asio::detached);
  machine_.settle();
  machine_.swap.off_waits.clear();
  pool_->cancel_down();
  machine_.run_until([&] { return result.has_value(); });
  ASSERT_FALSE(*result);
  EXPECT_EQ(machine_.nbd.devices.size(), 1U);
  expect_all_up(1);
}

// /proc/swaps may show an unknown path for a device that the kernel still holds.
TEST_F(PoolTest, ADeviceThatIsHeldIsNeverDisconnected) {
  ASSERT_TRUE(up(1));
  machine_.swap.held.insert("/dev/nbd0");
  EXPECT_EQ(down().error().message, "not everything could be freed; see the log");
  EXPECT_EQ(machine_.nbd.devices.size(), 1U);
  EXPECT_THAT(states(), ElementsAre("connected"));
  machine_.swap.held.clear();
  ASSERT_TRUE(down());
  expect_nothing_left();
}

// The kernel looks for partitions on a new device, and waits for a worker: so does each program
// that opens it.
TEST_F(PoolTest, WhenItIsUnknownWhetherADeviceIsHeldTheKernelIsAskedAgain) {
  ASSERT_TRUE(up(1));
  machine_.swap.unknown_looks = 2;
  ASSERT_TRUE(down());
  EXPECT_EQ(machine_.swap.unknown_looks, 0U);
  expect_nothing_left();
}

// Only the first open of a device waits: no program had it open before.
TEST_F(PoolTest, ADeviceWhoseOpenKeepsWaitingIsDisconnected) {
  ASSERT_TRUE(up(1));
  machine_.swap.unknown_looks = 1000;
  ASSERT_TRUE(down());
  EXPECT_EQ(machine_.swap.unknown_looks, 997U);
  expect_nothing_left();
}

TEST_F(PoolTest, WhereNoProcessCanBeStartedForAMomentTheKernelIsAskedAgain) {
  ASSERT_TRUE(up(1));
  machine_.swap.unknown_looks = 15;
  machine_.swap.unknown_code = EAGAIN;
  ASSERT_TRUE(down());
  expect_nothing_left();
}

TEST_F(PoolTest, WhereNoProcessCanBeStartedNoDeviceIsDisconnected) {
  ASSERT_TRUE(up(1));
  machine_.swap.unknown_looks = 1000;
  machine_.swap.unknown_code = EAGAIN;
  EXPECT_FALSE(down());
  EXPECT_THAT(states(), ElementsAre("connected"));
  machine_.swap.unknown_looks = 0;
  ASSERT_TRUE(down());
  expect_nothing_left();
}

// By a program that is ending.
TEST_F(PoolTest, ADeviceThatIsHeldForAMomentIsDisconnectedAfterIt) {
  ASSERT_TRUE(up(1));
  machine_.swap.held.insert("/dev/nbd0");
  std::optional<Result<void>> result;
  asio::co_spawn(
      machine_.io, [&]() -> awaitable<void> { result = co_await pool_->down(false, {}); },
      asio::detached);
  machine_.pass(std::chrono::milliseconds(300));
  EXPECT_FALSE(result);
  machine_.swap.held.clear();
  machine_.run_until([&] { return result.has_value(); });
  ASSERT_TRUE(*result) << result->error().message;
  expect_nothing_left();
}

// DISCONNECT succeeds, but the device stays while somebody has it open.
TEST_F(PoolTest, AStoreIsNotScrubbedWhileItsDeviceIsHeld) {
  ASSERT_TRUE(up(1));
  machine_.nbd.stays = [this](std::uint32_t index) {
    machine_.swap.held.insert(device_path(index));
    return true;
  };
  machine_.steps.clear();
  EXPECT_FALSE(down());
  EXPECT_THAT(machine_.steps.names(), testing::Not(testing::Contains("Remove")));
  machine_.swap.held.clear();
  machine_.nbd.devices.clear();
  ASSERT_TRUE(down());
  expect_nothing_left();
}

// A worker that died and is not back yet: swapoff would count the pages that it cannot read as
// gone.
TEST_F(PoolTest, AnUnservedDeviceIsNotSwappedOff) {
  ASSERT_TRUE(up());
  machine_.launcher.die_at_start = 1000;
  kill_worker();
  EXPECT_THAT(states(), ElementsAre("interrupted", "interrupted"));
  machine_.steps.clear();
  const auto result = down();
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, HasSubstr("not while it is interrupted"));
  EXPECT_THAT(machine_.steps.names(), testing::Not(testing::Contains(HasSubstr("swapoff"))));
  machine_.launcher.die_at_start = 0;
  machine_.pass(std::chrono::seconds(20));
  expect_all_up(2);
}

TEST_F(PoolTest, AWorkerThatDiesDuringSwapoffLeavesTheSegmentInterrupted) {
  ASSERT_TRUE(up(1));
  machine_.swap.off_waits.insert("/dev/nbd0");
  machine_.launcher.die_at_start = 1000;
  std::optional<Result<void>> result;
  asio::co_spawn(
      machine_.io, [&]() -> awaitable<void> { result = co_await pool_->down(false, {}); },
      asio::detached);
  machine_.settle();
  kill_worker();
  machine_.run_until([&] { return result.has_value(); });
  ASSERT_FALSE(*result);
  EXPECT_THAT(states(), ElementsAre("interrupted"));
  // The next attempt does not get as far as swapoff.
  machine_.steps.clear();
  machine_.swap.off_waits.clear();
  EXPECT_FALSE(down());
  EXPECT_THAT(machine_.steps.names(), testing::Not(testing::Contains(HasSubstr("swapoff"))));
  EXPECT_TRUE(machine_.swap.is_on("/dev/nbd0"));
  machine_.launcher.die_at_start = 0;
  machine_.pass(std::chrono::seconds(20));
  expect_all_up(1);
  EXPECT_TRUE(down());
}

}  // namespace
}  // namespace vramswap
