// The calls themselves fail here: there is no device, and perhaps no privilege.
#include "daemon/supervisor/machine/kernel_swap_calls.hpp"

#include <gmock/gmock.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cerrno>

#include "daemon/supervisor/machine/steady_clock.hpp"
#include "daemon/supervisor/machine/swap_call.hpp"
#include "daemon/supervisor/spawn.hpp"
#include "tests/support/fake_tree.hpp"
#include "tests/unit/supervisor/run.hpp"

namespace vramswap {
namespace {

using testing::HasSubstr;

class KernelSwapCallsTest : public testing::Test {
 protected:
  KernelSwapCallsTest() {
    paths_.swaps = tree_.path("swaps");
    paths_.block_directory = tree_.path("block");
  }
  KernelSwapCalls calls() { return {io_, clock_, paths_}; }
  // A file whose opening waits: no process writes to it.
  std::string make_fifo() const {
    const std::string path = tree_.path("fifo");
    EXPECT_EQ(mkfifo(path.c_str(), 0600), 0);
    return path;
  }

  const FakeTree tree_;
  KernelPaths paths_;
  asio::io_context io_{1};
  SteadyClock clock_{io_};
};

TEST_F(KernelSwapCallsTest, ErrorsOfTheChildComeBack) {
  const auto on = run(io_, calls().on("/nonexistent", 5));
  ASSERT_FALSE(on);
  EXPECT_THAT(on.error().message, HasSubstr("/nonexistent: swapon: E"));
  EXPECT_TRUE(on.error().code == ENOENT || on.error().code == EPERM) << on.error().message;
  const auto off = calls().off("/nonexistent");
  ASSERT_TRUE(off);
  const auto result = run(io_, (*off)->wait());
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, HasSubstr("/nonexistent: swapoff: E"));
  const auto read = run(io_, calls().read_page("/nonexistent", 4096, std::chrono::seconds(1000)));
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, ENOENT);
}

TEST_F(KernelSwapCallsTest, AReadThatWaitsTooLongIsGivenUp) {
  const auto read = run(io_, calls().read_page(make_fifo(), 0, std::chrono::seconds(0)));
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, ETIMEDOUT);
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1);  // the child is gone
}

TEST_F(KernelSwapCallsTest, NoProgramHoldsAPlainFile) {
  tree_.write("file", "");
  EXPECT_FALSE(calls().is_held(tree_.path("file")).value());
  EXPECT_FALSE(calls().is_held(tree_.path("missing")).value());
  EXPECT_EQ(calls().is_held(tree_.path("file") + "/nbd0").error().code, ENOTDIR);
}

TEST_F(KernelSwapCallsTest, WhetherADeviceIsHeldThatCannotBeOpenedIsNotKnown) {
  const auto held = calls().is_held(make_fifo());
  ASSERT_FALSE(held);
  EXPECT_EQ(held.error().code, ETIMEDOUT);
  io_.run();
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1);
}

TEST_F(KernelSwapCallsTest, AnAreaOnAnNbdDeviceHasItsPath) {
  tree_.write("swaps",
              "Filename Type Size Used Priority\n"
              "/nonexistent-directory/nbd3 partition 1024 0 5\n"
              "/swapfile file 1024 0 -2\n");
  const auto areas = calls().areas();
  ASSERT_TRUE(areas) << areas.error().message;
  EXPECT_EQ(areas->at(0).path, "/dev/nbd3");
  EXPECT_EQ(areas->at(1).path, "/swapfile");
}

TEST_F(KernelSwapCallsTest, EveryControlGroupIsAsked) {
  paths_.control_groups = tree_.path("cgroup");
  for (const char* name : {"a", "b", "b/c"}) {
    const std::string group = std::string("cgroup/") + name;
    tree_.write(group + "/memory.swap.current", "8192\n");
    tree_.write(group + "/memory.current", "4096\n");
    tree_.write(group + "/memory.max", "8192\n");
  }
  EXPECT_EQ(run(io_, calls().crowded_groups(1 << 20)).size(), 3U);
  EXPECT_EQ(run(io_, calls().crowded_groups(4096)).size(), 0U);
}

// There may be thousands of groups.
TEST_F(KernelSwapCallsTest, BetweenTwoControlGroupsOthersHaveTheirTurn) {
  paths_.control_groups = tree_.path("cgroup");
  tree_.write("cgroup/a/memory.swap.current", "8192\n");
  bool is_over = false;
  const KernelSwapCalls kernel = calls();
  spawn(io_, [](const KernelSwapCalls& asked, bool& over) -> awaitable<void> {
    (void)co_await asked.crowded_groups(1 << 20);
    over = true;
  }(kernel, is_over));
  unsigned turns = 0;
  // NOLINTNEXTLINE(bugprone-infinite-loop): a turn may set it
  while (!is_over) turns += static_cast<unsigned>(io_.poll_one());
  EXPECT_GE(turns, 3U);  // the start, the root, the group
}

TEST(SwapCall, OtherArgumentsAreNone) {
  const auto call = [](std::vector<std::string> words) {
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    return make_swap_call(static_cast<int>(arguments.size()), arguments.data());
  };
  EXPECT_FALSE(call({"vramswapd"}));
  EXPECT_FALSE(call({"vramswapd", "--worker"}));
  EXPECT_EQ(call({"vramswapd", "--swap-call"}), EINVAL);
  EXPECT_EQ(call({"vramswapd", "--swap-call", "off"}), EINVAL);
  EXPECT_EQ(call({"vramswapd", "--swap-call", "on", "/nonexistent"}), EINVAL);
  EXPECT_EQ(call({"vramswapd", "--swap-call", "erase", "/nonexistent"}), EINVAL);
}

}  // namespace
}  // namespace vramswap
