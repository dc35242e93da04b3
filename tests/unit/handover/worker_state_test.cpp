#include "daemon/handover/worker_state.hpp"

#include <gtest/gtest.h>

#include <map>
#include <set>

namespace vramswap {
namespace {

using State = WorkerState;
using Event = WorkerEvent;

TEST(WorkerState, TheTableIsThisAndNothingElse) {
  const std::map<std::pair<State, Event>, State> table = {
      {{State::fresh, Event::started}, State::serving},
      {{State::serving, Event::went_idle}, State::dozing},
      {{State::serving, Event::replaced}, State::waking},
      {{State::dozing, Event::called}, State::waking},
      {{State::waking, Event::woken}, State::serving},
  };
  for (int s = 0; s < kWorkerStateCount; ++s) {
    for (int e = 0; e < kWorkerEventCount; ++e) {
      const auto next = next_state(State{s}, Event{e});
      const auto expected = table.find({State{s}, Event{e}});
      ASSERT_EQ(next.has_value(), expected != table.end())
          << to_string(State{s}) << ", event " << e;
      if (!next) continue;
      EXPECT_EQ(*next, expected->second) << to_string(State{s}) << ", event " << e;
    }
  }
}

// From every state: in none of them may the kernel wait forever.
TEST(WorkerState, EveryStateLeadsToServing) {
  for (int s = 0; s < kWorkerStateCount; ++s) {
    std::set<State> reached{State{s}};
    for (std::size_t before = 0; before != reached.size();) {
      before = reached.size();
      for (const State from : std::set(reached)) {
        for (int e = 0; e < kWorkerEventCount; ++e) {
          if (const auto next = next_state(from, Event{e})) reached.insert(*next);
        }
      }
    }
    EXPECT_TRUE(reached.contains(State::serving)) << to_string(State{s});
    EXPECT_EQ(reached.contains(State::fresh), State{s} == State::fresh) << "nobody starts twice";
  }
}

TEST(WorkerState, EveryNameIsItsOwn) {
  std::set<std::string_view> names;
  for (int s = 0; s < kWorkerStateCount; ++s) names.insert(to_string(State{s}));
  EXPECT_EQ(names.size(), static_cast<std::size_t>(kWorkerStateCount));
  EXPECT_FALSE(names.contains("?"));
}

}  // namespace
}  // namespace vramswap
