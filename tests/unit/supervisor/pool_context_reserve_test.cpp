// VRAM that is set aside for the next context: the supervisor keeps the worker's reserve, gives it
// to the next worker, and closes it when a context needs the room.
#include "tests/unit/supervisor/pool_fixture.hpp"

namespace vramswap {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class PoolContextReserveTest : public PoolTest {
 protected:
  static constexpr std::uint64_t kContextBytes = 600 << 20;

  PoolContextReserveTest() { machine_.launcher.context_bytes = kContextBytes; }

  long reserves_held() const { return machine_.launcher.reserves_held(); }
  const messages::Start& start() { return machine_.launcher.latest().start; }
  bool is_in_fdstore() const { return machine_.service_manager.fdstore.contains("context-0"); }
};

TEST_F(PoolContextReserveTest, IsKeptUntilDown) {
  ASSERT_TRUE(up(1));
  EXPECT_EQ(start().context_bytes, 0U);
  EXPECT_FALSE(start().has_context_reserve);
  EXPECT_EQ(worker_status().reserve_bytes, kContextBytes);
  EXPECT_THAT(worker_status().notes, IsEmpty());
  EXPECT_TRUE(is_in_fdstore());
  ASSERT_TRUE(down());
  expect_nothing_left();
  EXPECT_EQ(reserves_held(), 0);
}

TEST_F(PoolContextReserveTest, SurvivesTheWorkerAndIsGivenToTheNext) {
  ASSERT_TRUE(up(1));
  for (int i = 0; i < 2; ++i) {
    kill_worker();
    EXPECT_EQ(reserves_held(), 1);
    recover();
    EXPECT_EQ(start().context_bytes, kContextBytes);
    EXPECT_TRUE(start().has_context_reserve);
    EXPECT_TRUE(machine_.launcher.latest().context_reserve);
    EXPECT_EQ(reserves_held(), 1);
  }
}

TEST_F(PoolContextReserveTest, NoProcessHoldsOneThatAWorkerGivesUp) {
  ASSERT_TRUE(up(1));
  machine_.launcher.latest().give_up_reserve();
  machine_.settle();
  EXPECT_EQ(reserves_held(), 0);
  EXPECT_FALSE(is_in_fdstore());
  EXPECT_EQ(worker_status().reserve_bytes, 0U);
  // The next worker makes another one.
  kill_worker();
  recover();
  EXPECT_FALSE(start().has_context_reserve);
  EXPECT_EQ(worker_status().reserve_bytes, kContextBytes);
}

TEST_F(PoolContextReserveTest, StatusSaysThatThereIsNoRoom) {
  machine_.launcher.has_room = false;
  auto wanted = request(1);
  wanted.doze_after = std::chrono::seconds(10);
  ASSERT_TRUE(machine_.run(pool_->up(wanted)));
  EXPECT_EQ(worker_status().reserve_bytes, 0U);
  ASSERT_THAT(worker_status().notes, SizeIs(1));
  EXPECT_THAT(worker_status().notes[0], HasSubstr("no room for another context (600M)"));
  EXPECT_THAT(worker_status().notes[0], HasSubstr("does not doze"));
}

// Without a service manager the worker has it.
TEST_F(PoolContextReserveTest, AnAdoptedWorkerSharesIt) {
  ASSERT_TRUE(up(1));
  end_supervisor();
  machine_.service_manager.fdstore.clear();
  begin_supervisor();
  ASSERT_TRUE(adopt());
  EXPECT_EQ(worker_status().reserve_bytes, kContextBytes);
  kill_worker();
  EXPECT_EQ(reserves_held(), 1);
  recover();
  EXPECT_TRUE(start().has_context_reserve);
}

// It gave it up while there was no supervisor that could hear it.
TEST_F(PoolContextReserveTest, AReserveThatAnAdoptedWorkerLacksGoesFromTheServiceManager) {
  ASSERT_TRUE(up(1));
  end_supervisor();
  machine_.launcher.latest().give_up_reserve();
  EXPECT_EQ(reserves_held(), 1);
  begin_supervisor();
  ASSERT_TRUE(adopt(fdstore()));
  EXPECT_EQ(reserves_held(), 0);
  EXPECT_FALSE(is_in_fdstore());
}

TEST_F(PoolContextReserveTest, TheServiceManagerKeepsItWhenBothDie) {
  ASSERT_TRUE(up(1));
  end_supervisor();
  kill_worker();
  begin_supervisor();
  ASSERT_TRUE(adopt(fdstore()));
  recover();
  EXPECT_TRUE(start().has_context_reserve);
  EXPECT_EQ(reserves_held(), 1);
  ASSERT_TRUE(down());
  expect_nothing_left();
  EXPECT_EQ(reserves_held(), 0);
}

TEST_F(PoolContextReserveTest, TheNextProgramInheritsIt) {
  ASSERT_TRUE(up(1));
  const auto fds = pool_->handover_fds();
  ASSERT_TRUE(fds);
  EXPECT_TRUE(fds->contains("context-0"));
}

}  // namespace
}  // namespace vramswap
