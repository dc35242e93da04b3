// How often a thread that waits looks and sleeps, on a clock of the test's own.
#include "cuda/wait.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace vramswap::cuda {
namespace {

using std::chrono::microseconds;
using std::chrono::nanoseconds;

Wait::Clock::time_point now{};
unsigned looks_at_clock = 0;
std::vector<nanoseconds> sleeps;

// A microsecond passes between two looks at it.
constexpr Wait::Time kTestTime{.now =
                                   [] {
                                     ++looks_at_clock;
                                     return now += microseconds(1);
                                   },
                               .sleep =
                                   [](nanoseconds time) {
                                     now += time;
                                     sleeps.push_back(time);
                                   }};

class WaitTest : public testing::Test {
 protected:
  WaitTest() {
    looks_at_clock = 0;
    sleeps.clear();
  }
  Wait wait_{kTestTime};
};

TEST_F(WaitTest, AShortWaitNeverSleeps) {
  for (int look = 0; look < 100; ++look) wait_.pause();
  EXPECT_TRUE(sleeps.empty());
  EXPECT_EQ(wait_.slept(), nanoseconds(0));
  // A look at the clock costs more than one at a word.
  EXPECT_LE(looks_at_clock, 20U);
}

TEST_F(WaitTest, TheSpinEndsAfter100Microseconds) {
  const auto begin = now;
  while (sleeps.empty()) wait_.pause();
  EXPECT_LE(now - sleeps.front() - begin, Wait::kSpin + microseconds(10));
  EXPECT_GE(now - sleeps.front() - begin, Wait::kSpin);
}

TEST_F(WaitTest, AfterTheSpinEachLookIsFollowedByASleepThatGrows) {
  while (sleeps.empty()) wait_.pause();
  EXPECT_EQ(sleeps.front(), microseconds(50));
  const unsigned looks_before = looks_at_clock;
  nanoseconds sum = sleeps.front();
  for (std::size_t look = 1; look < 1000; ++look) {
    wait_.pause();
    ASSERT_EQ(sleeps.size(), look + 1);
    EXPECT_GE(sleeps[look], sleeps[look - 1]);
    // It is late by little, compared with the time that it has waited.
    EXPECT_LE(sleeps[look], microseconds(50) + sum / 3);
    sum += sleeps[look];
  }
  EXPECT_EQ(sleeps.back(), microseconds(1000));
  EXPECT_EQ(wait_.slept(), sum);
  EXPECT_EQ(looks_at_clock, looks_before);
}

}  // namespace
}  // namespace vramswap::cuda
