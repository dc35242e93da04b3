#include "daemon/worker/io/adaptive_spin.hpp"

#include <gtest/gtest.h>

namespace vramswap {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr microseconds kNone{0};
constexpr microseconds kShort{10};
constexpr milliseconds kLong{5};

// A thread and its clock.
class Waiter {
 public:
  explicit Waiter(unsigned processors = 8, bool realtime = false) : spin(processors, realtime) {}

  // How long it would spin; the wait then takes `duration`.
  microseconds wait(AdaptiveSpin::Clock::duration duration) {
    const auto limit = spin.begin(now);
    now += duration;
    spin.end(now, duration > limit);
    return limit;
  }
  void gain_confidence() {
    for (int i = 0; i < 10; ++i) wait(kShort);
  }

  AdaptiveSpin spin;
  AdaptiveSpin::Clock::time_point now{std::chrono::hours(1)};
};

TEST(AdaptiveSpin, SpinsOnceRequestsComeInQuickSuccession) {
  Waiter waiter;
  EXPECT_EQ(waiter.wait(kShort), kNone);
  EXPECT_EQ(waiter.wait(kShort), kNone);
  EXPECT_EQ(waiter.wait(kShort), AdaptiveSpin::kLimit);
}

TEST(AdaptiveSpin, AnIdleThreadDoesNot) {
  Waiter waiter;
  waiter.gain_confidence();
  int spins = 0;
  for (int i = 0; i < 100; ++i) spins += waiter.wait(kLong) > kNone;
  EXPECT_LE(spins, 3);
  EXPECT_EQ(waiter.wait(kLong), kNone);
}

TEST(AdaptiveSpin, ALoneShortWaitIsNoReason) {
  Waiter waiter;
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(waiter.wait(kLong), kNone);
    EXPECT_EQ(waiter.wait(kShort), kNone);
  }
}

TEST(AdaptiveSpin, HalfTheProcessorsAreLeftToTheOthers) {
  Waiter first(4);
  Waiter second(4);
  Waiter third(4);
  for (auto* waiter : {&first, &second, &third}) waiter->gain_confidence();
  EXPECT_EQ(first.spin.begin(first.now), AdaptiveSpin::kLimit);
  EXPECT_EQ(second.spin.begin(second.now), AdaptiveSpin::kLimit);
  EXPECT_EQ(third.wait(kShort), kNone);
  first.spin.end(first.now, false);
  EXPECT_EQ(third.wait(kShort), AdaptiveSpin::kLimit);
  second.spin.end(second.now, false);
}

TEST(AdaptiveSpin, AMachineOfOneProcessorNever) {
  Waiter waiter(1);
  waiter.gain_confidence();
  EXPECT_EQ(waiter.wait(kShort), kNone);
}

TEST(AdaptiveSpin, ARealtimeThreadStopsBeforeTheKernelStopsIt) {
  Waiter waiter(8, true);
  waiter.gain_confidence();
  const auto began = waiter.now;
  std::chrono::nanoseconds spun{0};
  while (waiter.now - began < std::chrono::seconds(1)) {
    // Busy all the time, but for the waits that it sleeps through.
    const auto before = waiter.now;
    const bool spins = waiter.wait(kShort) > kNone;
    if (spins) spun += waiter.now - before;
  }
  EXPECT_GT(spun, milliseconds(800));
  EXPECT_LT(spun, milliseconds(900));
}

TEST(AdaptiveSpin, OneThatSleepsEnoughKeepsSpinning) {
  Waiter waiter(8, true);
  waiter.gain_confidence();
  const auto began = waiter.now;
  int refused = 0;
  while (waiter.now - began < std::chrono::seconds(1)) {
    waiter.wait(milliseconds(10));
    for (int i = 0; i < 1000; ++i) refused += waiter.wait(kShort) == kNone;
  }
  // Only while it finds out that requests come again.
  EXPECT_LT(refused, 50 * 3);
}

}  // namespace
}  // namespace vramswap
