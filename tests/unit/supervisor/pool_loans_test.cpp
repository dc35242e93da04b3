// VRAM is lent while the swap stays up, and comes back.
#include "tests/unit/supervisor/pool_fixture.hpp"

namespace vramswap {
namespace {

using fake::kind_of;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class PoolLoansTest : public PoolTest {
 protected:
  static constexpr std::uint64_t kContextBytes = 512 << 20;

  PoolLoansTest() { machine_.launcher.context_bytes = kContextBytes; }

  Result<void> up(unsigned segments = 2) {
    auto request = PoolTest::request(segments);
    request.backend = control::Backend::vram;
    request.gpus = {"0"};
    return machine_.run(pool_->up(request));
  }
  void use(std::uint32_t segment, std::uint64_t bytes) {
    machine_.swap.set_used(device_path(segment), bytes);
  }
  Result<control::Lent> lend(control::LendRequest request) {
    id_ = std::make_shared<std::uint64_t>(0);
    return machine_.run(pool_->lend(std::move(request), id_, [](const control::Progress&) {}));
  }
  Result<void> take_back() { return machine_.run(pool_->take_back()); }
  Result<control::Lent> lend_all() { return lend({}); }
  std::vector<std::string> places() const {
    std::vector<std::string> list;
    for (const auto& segment : pool_->segments().value()) list.push_back(segment.place);
    return list;
  }
  StoreId store_of(std::uint32_t segment) { return pages(segment).store(); }
  void expect_all_back(unsigned segments) {
    machine_.pass(std::chrono::minutes(1));
    expect_all_up(segments, 1);  // and the context's reserve
    EXPECT_EQ(places(), std::vector<std::string>(segments, "vram"));
    EXPECT_EQ(pool_->lent_bytes(), 0U);
    EXPECT_EQ(machine_.launcher.reserves_held(), 1);
  }

  std::shared_ptr<std::uint64_t> id_;
};

TEST_F(PoolLoansTest, EmptySegmentsGoAndUsedOnesMoveToHostMemory) {
  ASSERT_TRUE(up());
  use(0, kPageBytes);
  const auto lent = lend_all();
  ASSERT_TRUE(lent) << lent.error().message;
  EXPECT_EQ(lent->freed_bytes, 2 * kSegmentBytes + kContextBytes);
  EXPECT_EQ(lent->missing_bytes, 0U);
  EXPECT_EQ(lent->problem, "");
  EXPECT_THAT(states(), ElementsAre("active", "lent"));
  EXPECT_THAT(places(), ElementsAre("host memory", ""));
  EXPECT_EQ(store_of(0).place, StorePlace::host);
  EXPECT_EQ(machine_.launcher.reserves_held(), 0);
  EXPECT_THAT(worker_status().notes, IsEmpty());
  EXPECT_TRUE(machine_.swap.is_on(device_path(0)));
  EXPECT_EQ(machine_.nbd.devices.size(), 1U);

  ASSERT_TRUE(take_back());
  expect_all_back(2);
}

TEST_F(PoolLoansTest, NoMoreIsLentThanIsWanted) {
  ASSERT_TRUE(up(4));
  use(0, kPageBytes);
  const auto first = lend({.bytes = kSegmentBytes});
  ASSERT_TRUE(first) << first.error().message;
  EXPECT_EQ(first->freed_bytes, kSegmentBytes);
  EXPECT_THAT(states(), ElementsAre("active", "active", "active", "lent"));
  // Loans add up.
  const auto second = lend({.bytes = kSegmentBytes, .is_held = true});
  ASSERT_TRUE(second) << second.error().message;
  EXPECT_EQ(second->freed_bytes, 2 * kSegmentBytes);
  EXPECT_THAT(states(), ElementsAre("active", "active", "lent", "lent"));
  EXPECT_EQ(pool_->loans().size(), 2U);
  pool_->return_loan(*id_);
  machine_.pass(std::chrono::minutes(1));
  EXPECT_THAT(states(), ElementsAre("active", "active", "active", "lent"));
  ASSERT_TRUE(take_back());
  expect_all_back(4);
  EXPECT_THAT(take_back().error().message, HasSubstr("nothing is lent by 'vramswap lend'"));
}

TEST_F(PoolLoansTest, WhereHostMemoryHasNoRoomPagesGoWhereverSwapOffFindsRoom) {
  ASSERT_TRUE(up(1));
  use(0, 1 << 20);
  machine_.swap.memory_info.available_bytes = kSegmentBytes;
  const auto lent = lend_all();
  ASSERT_TRUE(lent) << lent.error().message;
  EXPECT_EQ(lent->missing_bytes, 0U);
  EXPECT_THAT(states(), ElementsAre("lent"));
  ASSERT_TRUE(take_back());
  expect_all_back(1);
}

TEST_F(PoolLoansTest, WhatFitsNowhereStaysAndIsNamed) {
  ASSERT_TRUE(up());
  use(0, 32 << 20);
  machine_.swap.memory_info.available_bytes = 1 << 20;
  const auto lent = lend_all();
  ASSERT_TRUE(lent) << lent.error().message;
  EXPECT_EQ(lent->freed_bytes, kSegmentBytes);
  EXPECT_EQ(lent->missing_bytes, kSegmentBytes + kContextBytes);
  EXPECT_THAT(lent->problem, HasSubstr("do not fit"));
  EXPECT_THAT(states(), ElementsAre("active", "lent"));
}

TEST_F(PoolLoansTest, NothingMoreIsBegunAfterTheTimeIsOver) {
  ASSERT_TRUE(up(3));
  const auto lent = lend({.wait = std::chrono::seconds(0)});
  ASSERT_TRUE(lent) << lent.error().message;
  EXPECT_EQ(lent->freed_bytes, 0U);
  EXPECT_EQ(lent->problem, "the time is over");
  EXPECT_THAT(states(), ElementsAre("active", "active", "active"));
}

TEST_F(PoolLoansTest, NothingIsLentOfHostMemoryOrWhereNothingIsUp) {
  EXPECT_EQ(lend_all().error().message, "nothing is up");
  ASSERT_TRUE(PoolTest::up());
  EXPECT_THAT(lend_all().error().message, HasSubstr("no VRAM to lend"));
}

TEST_F(PoolLoansTest, DownTakesDownWhatIsLentToo) {
  ASSERT_TRUE(up());
  use(0, kPageBytes);
  ASSERT_TRUE(lend_all());
  ASSERT_TRUE(down());
  expect_nothing_left();
  EXPECT_THAT(pool_->loans(), IsEmpty());
  ASSERT_TRUE(up());
  EXPECT_THAT(states(), ElementsAre("active", "active"));
}

TEST_F(PoolLoansTest, AWorkerThatDiesInAMoveLeavesOneStoreWithThePages) {
  for (const bool when_moved : {false, true}) {
    SCOPED_TRACE(when_moved);
    ASSERT_TRUE(up(1));
    use(0, kPageBytes);
    const StoreId before = store_of(0);
    machine_.launcher.latest().dies_in_move_when_moved = when_moved;
    const auto lent = lend({.bytes = kSegmentBytes});
    ASSERT_TRUE(lent) << lent.error().message;
    EXPECT_EQ(lent->missing_bytes, 0U) << lent->problem;
    EXPECT_EQ(store_of(0).place, StorePlace::host);
    // The dead worker has moved it, or the next one did.
    EXPECT_EQ(store_of(0).serial, before.serial + 1);
    EXPECT_EQ(machine_.launcher.workers.size(), 2U);
    EXPECT_THAT(states(), ElementsAre("active"));
    // The page map, its store, the description, and the context's reserve.
    EXPECT_EQ(machine_.service_manager.fdstore.size(), 4U);
    ASSERT_TRUE(take_back());
    expect_all_back(1);
    ASSERT_TRUE(down());
    machine_.launcher.workers.clear();
  }
}

TEST_F(PoolLoansTest, AnotherSupervisorKnowsWhatIsLent) {
  ASSERT_TRUE(up());
  use(0, kPageBytes);
  ASSERT_TRUE(lend_all());
  const auto held = std::make_shared<std::uint64_t>(0);
  ASSERT_TRUE(machine_.run(
      pool_->lend({.bytes = 1, .is_held = true}, held, [](const control::Progress&) {})));
  begin_supervisor();
  ASSERT_TRUE(adopt(fdstore()));
  EXPECT_THAT(states(), ElementsAre("active", "lent"));
  EXPECT_THAT(places(), ElementsAre("host memory", ""));
  EXPECT_EQ(pool_->loans().size(), 2U);
  // The client of the one that is held does not come back.
  machine_.pass(std::chrono::minutes(1));
  EXPECT_EQ(pool_->loans().size(), 1U);
  EXPECT_THAT(states(), ElementsAre("active", "lent"));
  ASSERT_TRUE(take_back());
  expect_all_back(2);
}

TEST_F(PoolLoansTest, WhatTheCardHasNoRoomForComesBackLater) {
  ASSERT_TRUE(up(1));
  use(0, kPageBytes);
  ASSERT_TRUE(lend_all());
  machine_.launcher.latest().fails_with[kind_of<messages::PrepareMove>()] = ENOMEM;
  ASSERT_TRUE(take_back());
  machine_.pass(std::chrono::minutes(5));
  EXPECT_THAT(places(), ElementsAre("host memory"));
  EXPECT_THAT(states(), ElementsAre("active"));
  machine_.launcher.latest().fails_with.clear();
  expect_all_back(1);
}

TEST_F(PoolLoansTest, AWorkerThatDiesWhileAllIsLentStartsWithoutAContext) {
  ASSERT_TRUE(up(1));
  use(0, kPageBytes);
  ASSERT_TRUE(lend_all());
  kill_worker();
  recover();
  EXPECT_TRUE(machine_.launcher.latest().start.leaves_card);
  EXPECT_EQ(machine_.launcher.reserves_held(), 0);
  EXPECT_THAT(states(), ElementsAre("active"));
  ASSERT_TRUE(take_back());
  expect_all_back(1);
}

}  // namespace
}  // namespace vramswap
