#include "daemon/supervisor/pool/segment_state.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "daemon/control/segment_states.hpp"

namespace vramswap {
namespace {

using State = SegmentState;
using Event = SegmentEvent;

bool has_swap_on(State state) {
  return state == State::active || state == State::swapping_off || state == State::interrupted;
}

TEST(SegmentState, ClientsKnowEveryName) {
  for (int i = 0; i < kSegmentStateCount; ++i) {
    const auto name = to_string(static_cast<State>(i));
    EXPECT_EQ(std::ranges::count(control::kSegmentStates, name), 1) << name;
  }
}

TEST(SegmentState, UpAndDown) {
  State state = State::planned;
  for (const auto& [event, expected] : std::initializer_list<std::pair<Event, State>>{
           {Event::store_created, State::allocated},
           {Event::device_connected, State::connected},
           {Event::swap_on, State::active},
           {Event::worker_lost, State::interrupted},
           {Event::worker_restored, State::active},
           {Event::swap_off_started, State::swapping_off},
           {Event::swap_off_failed, State::active},
           {Event::swap_off_started, State::swapping_off},
           {Event::swap_off_done, State::connected},
           {Event::device_disconnected, State::allocated},
           {Event::store_released, State::planned}}) {
    const auto next = next_state(state, event);
    ASSERT_TRUE(next) << to_string(state) << ", " << to_string(event);
    EXPECT_EQ(*next, expected);
    state = *next;
  }
}

TEST(SegmentState, SwapThatComesOnWithoutAWorkerIsInterrupted) {
  EXPECT_EQ(next_state(State::stranded, Event::swap_on), State::interrupted);
}

TEST(SegmentState, SwapEndsOnlyByASwapoffThatSucceeded) {
  for (int s = 0; s < kSegmentStateCount; ++s) {
    for (int e = 0; e < kSegmentEventCount; ++e) {
      const auto next = next_state(State{s}, Event{e});
      if (!next || !has_swap_on(State{s}) || has_swap_on(*next)) continue;
      EXPECT_EQ(Event{e}, Event::swap_off_done) << to_string(State{s});
    }
  }
}

TEST(SegmentState, NoSwapoffWithoutAServer) {
  EXPECT_FALSE(next_state(State::interrupted, Event::swap_off_started));
}

TEST(SegmentState, NothingIsDisconnectedOrReleasedUnderSwap) {
  for (const State state : {State::active, State::swapping_off, State::interrupted}) {
    EXPECT_FALSE(next_state(state, Event::device_disconnected)) << to_string(state);
    EXPECT_FALSE(next_state(state, Event::store_released)) << to_string(state);
  }
}

TEST(SegmentState, ADeadSupervisorsSegments) {
  constexpr bool kDevice = true;
  constexpr bool kSwap = true;
  constexpr bool kServed = true;
  EXPECT_EQ(state_as_found(kDevice, kSwap, kServed), State::active);
  EXPECT_EQ(state_as_found(kDevice, kSwap, !kServed), State::interrupted);
  EXPECT_EQ(state_as_found(kDevice, !kSwap, kServed), State::connected);
  EXPECT_EQ(state_as_found(kDevice, !kSwap, !kServed), State::stranded);
  // Where there is no device, nothing else can be.
  for (const bool is_swap : {false, true}) {
    EXPECT_EQ(state_as_found(!kDevice, is_swap, kServed), State::allocated);
    EXPECT_EQ(state_as_found(!kDevice, is_swap, !kServed), State::allocated);
  }
}

TEST(SegmentState, AsFoundItCanBeServedAgainAndTakenDown) {
  for (const bool is_swap : {false, true}) {
    const auto found = state_as_found(true, is_swap, false);
    const auto restored = next_state(found, Event::worker_restored);
    ASSERT_TRUE(restored) << to_string(found);
    EXPECT_EQ(*restored, state_as_found(true, is_swap, true));
    EXPECT_EQ(has_swap_on(found), is_swap);
  }
}

TEST(SegmentState, EveryNameIsItsOwn) {
  std::set<std::string_view> names;
  for (int s = 0; s < kSegmentStateCount; ++s) names.insert(to_string(State{s}));
  for (int e = 0; e < kSegmentEventCount; ++e) names.insert(to_string(Event{e}));
  EXPECT_EQ(names.size(), static_cast<std::size_t>(kSegmentStateCount + kSegmentEventCount));
  EXPECT_FALSE(names.contains("?"));
}

}  // namespace
}  // namespace vramswap
