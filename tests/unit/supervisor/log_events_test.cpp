// The entries of the journal that tell of an event, with their fields.
#include <filesystem>

#include "daemon/system/log.hpp"
#include "tests/support/temp_directory.hpp"
#include "tests/unit/supervisor/pool_fixture.hpp"

namespace vramswap {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

struct Event {
  std::string message_id;
  std::string entry;
};
std::vector<Event> events;

void collect(std::string_view message, const LogFields& fields) {
  if (fields.message_id.empty()) return;
  std::array<char, 4096> buffer{};
  const std::size_t length = write_entry(buffer, 0, message, fields);
  events.push_back({std::string(fields.message_id), {buffer.data(), length}});
}

class LogEventsTest : public PoolTest {
 protected:
  LogEventsTest() {
    events.clear();
    set_log_sink(collect);
  }
  ~LogEventsTest() override { set_log_sink(nullptr); }

  // The log entries of this event since the last call.
  static std::vector<std::string> take(std::string_view message_id) {
    std::vector<std::string> entries;
    for (const Event& event : events) {
      if (event.message_id == message_id) entries.push_back(event.entry);
    }
    std::erase_if(events, [&](const Event& event) { return event.message_id == message_id; });
    return entries;
  }
  void look() { machine_.pass(std::chrono::seconds(11)); }
};

TEST_F(LogEventsTest, UpAndDown) {
  ASSERT_TRUE(up(2));
  EXPECT_THAT(take(message_ids::kSwapOn),
              ElementsAre(HasSubstr("\nMESSAGE=swap is on: 128M on /dev/nbd0 to /dev/nbd1\n")));
  ASSERT_TRUE(down());
  EXPECT_THAT(take(message_ids::kSwapOff), SizeIs(1));
  EXPECT_THAT(events, IsEmpty());
}

TEST_F(LogEventsTest, NoneWhereUpFailsOrMakesNoSwap) {
  machine_.steps.fail_at(4);
  ASSERT_FALSE(up(2));
  machine_.steps.clear();
  auto scratch = options();
  scratch.makes_swap_area = false;
  begin_supervisor(scratch);
  ASSERT_TRUE(up(1));
  ASSERT_TRUE(down());
  EXPECT_THAT(events, IsEmpty());
}

TEST_F(LogEventsTest, AWorkerDiesAndIsReplaced) {
  ASSERT_TRUE(up(2));
  const pid_t dead = machine_.launcher.latest().pid;
  kill_worker();
  EXPECT_THAT(take(message_ids::kWorkerDied),
              ElementsAre(AllOf(HasSubstr("\nVRAMSWAP_PID=" + std::to_string(dead) + '\n'),
                                HasSubstr("\nVRAMSWAP_STORE=" + worker_status().store + '\n'))));
  recover();
  const auto pause = std::to_string(worker_status().last_pause_ms);
  const auto pid = std::to_string(machine_.launcher.latest().pid);
  EXPECT_THAT(take(message_ids::kWorkerReplaced),
              ElementsAre(AllOf(HasSubstr("\nVRAMSWAP_PID=" + pid + '\n'),
                                HasSubstr("\nVRAMSWAP_PAUSE_MS=" + pause + '\n'))));
  EXPECT_THAT(take(message_ids::kRecoveryFailed), IsEmpty());
}

TEST_F(LogEventsTest, ARecoveryFails) {
  ASSERT_TRUE(up(1));
  machine_.launcher.die_at_start = 2;
  kill_worker();
  recover();
  EXPECT_THAT(take(message_ids::kRecoveryFailed), SizeIs(2));
  EXPECT_THAT(take(message_ids::kWorkerReplaced), SizeIs(1));
}

TEST_F(LogEventsTest, ThePagesOfAStoreAreLost) {
  ASSERT_TRUE(up(2));
  pages(1).set(5, 10, PageState::valid);
  machine_.launcher.stale_segments = {1};
  kill_worker();
  machine_.pass(std::chrono::minutes(1));
  EXPECT_THAT(take(message_ids::kPagesLost),
              ElementsAre(AllOf(HasSubstr("\nVRAMSWAP_DEVICE=/dev/nbd1\n"),
                                HasSubstr("\nVRAMSWAP_SEGMENT=1\n"),
                                HasSubstr("\nVRAMSWAP_LOST_PAGES=10\n"))));
}

TEST_F(LogEventsTest, AWorkerGivesPagesUp) {
  ASSERT_TRUE(up(2));
  pages(1).set(0, 3, PageState::valid);
  machine_.launcher.gives_up_in = {1};
  kill_worker();
  recover();
  EXPECT_THAT(take(message_ids::kPagesLost),
              ElementsAre(AllOf(HasSubstr("\nVRAMSWAP_DEVICE=/dev/nbd1\n"),
                                HasSubstr("\nVRAMSWAP_LOST_PAGES=1\n"))));
}

TEST_F(LogEventsTest, SomebodyElseDisconnectsADevice) {
  ASSERT_TRUE(up(2));
  disconnect_by_others(1);
  machine_.pass(std::chrono::minutes(1));
  // Once, and not for each connection.
  EXPECT_THAT(take(message_ids::kDisconnectedByOthers),
              ElementsAre(AllOf(HasSubstr("\nVRAMSWAP_DEVICE=/dev/nbd1\n"),
                                HasSubstr("\nVRAMSWAP_SEGMENT=1\n"))));
}

TEST_F(LogEventsTest, SomebodyElseSwapsItOff) {
  ASSERT_TRUE(up(2));
  take(message_ids::kSwapOn);
  machine_.swap.turn_off("/dev/nbd1");
  look();
  look();
  EXPECT_THAT(take(message_ids::kSwappedOffByOthers),
              ElementsAre(HasSubstr("\nVRAMSWAP_DEVICE=/dev/nbd1\n")));
  ASSERT_TRUE(up(2));
  EXPECT_THAT(take(message_ids::kSwapOn), ElementsAre(HasSubstr("\nVRAMSWAP_DEVICE=/dev/nbd1\n")));
  look();
  EXPECT_THAT(events, IsEmpty());
  machine_.swap.turn_off("/dev/nbd1");
  look();
  EXPECT_THAT(take(message_ids::kSwappedOffByOthers), SizeIs(1));
}

// The daemon itself swaps off; the next daemon must not report it as the work of others.
TEST_F(LogEventsTest, ADownIsNotTheWorkOfOthers) {
  ASSERT_TRUE(up(2));
  machine_.swap.off_waits.insert("/dev/nbd0");
  asio::co_spawn(
      machine_.io, [&]() -> awaitable<void> { (void)co_await pool_->down(false, {}); },
      asio::detached);
  look();
  EXPECT_THAT(states(), ElementsAre("swapping-off", "connected"));
  EXPECT_THAT(take(message_ids::kSwappedOffByOthers), IsEmpty());
  pool_->cancel_down();
  machine_.pass(std::chrono::seconds(1));
  EXPECT_THAT(take(message_ids::kSwapOff), IsEmpty());
}

TEST_F(LogEventsTest, TheDriverIsReplaced) {
  TempDirectory directory;
  machine_.launcher.driver_path = directory.write("libcuda.so.1", "the first");
  auto wanted = request(1);
  wanted.backend = control::Backend::vram;
  ASSERT_TRUE(machine_.run(pool_->up(wanted)));
  look();
  EXPECT_THAT(take(message_ids::kDriverReplaced), IsEmpty());
  std::filesystem::rename(directory.write("new", "the second"), machine_.launcher.driver_path);
  look();
  look();
  EXPECT_THAT(take(message_ids::kDriverReplaced),
              ElementsAre(HasSubstr("\nVRAMSWAP_STORE=" + worker_status().store + '\n')));
}

TEST_F(LogEventsTest, ANewSupervisorTakesOver) {
  ASSERT_TRUE(up(2));
  begin_supervisor();
  EXPECT_THAT(take(message_ids::kTookOver), IsEmpty());
  ASSERT_TRUE(adopt());
  EXPECT_THAT(take(message_ids::kTookOver), SizeIs(1));
}

// The memory went with both processes.
TEST_F(LogEventsTest, BothDieAndNoProcessKeepsTheMemory) {
  ASSERT_TRUE(up(1));
  NamedFds inherited = fdstore();
  std::erase_if(inherited, [](const auto& fd) { return !fd.first.starts_with("pool"); });
  begin_supervisor();
  machine_.launcher.latest().die();
  ASSERT_TRUE(adopt(std::move(inherited)));
  EXPECT_THAT(take(message_ids::kPagesLost),
              ElementsAre(AllOf(HasSubstr("\nVRAMSWAP_DEVICE=/dev/nbd0\n"),
                                Not(HasSubstr("VRAMSWAP_LOST_PAGES")))));
}

}  // namespace
}  // namespace vramswap
