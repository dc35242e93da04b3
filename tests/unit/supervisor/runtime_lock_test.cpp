#include "daemon/supervisor/machine/runtime_lock.hpp"

#include <gtest/gtest.h>

#include "daemon/supervisor/asio.hpp"
#include "tests/support/temp_directory.hpp"

namespace vramswap {
namespace {

using std::chrono_literals::operator""h;
using std::chrono_literals::operator""ms;

class RuntimeLockTest : public testing::Test {
 protected:
  const TempDirectory directory_;
  const std::string path_ = directory_.path() / "run";
};

TEST_F(RuntimeLockTest, OneHolderAtATime) {
  auto lock = lock_runtime_directory(path_, 0ms);
  ASSERT_TRUE(lock) << lock.error().message;
  const auto second = lock_runtime_directory(path_, 0ms);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().message, path_ + ": another vramswapd runs");
  lock->reset();
  EXPECT_TRUE(lock_runtime_directory(path_, 0ms));
}

TEST_F(RuntimeLockTest, WaitsForOneThatEnds) {
  auto lock = lock_runtime_directory(path_, 0ms);
  ASSERT_TRUE(lock);
  {
    // No process listens any more.
    asio::io_context io;
    asio::local::stream_protocol::acceptor acceptor(io, {control_path(path_)});
  }
  std::thread ends([&] {
    std::this_thread::sleep_for(100ms);
    lock->reset();
  });
  EXPECT_TRUE(lock_runtime_directory(path_, 1h));
  ends.join();
}

// With a limit that the test does not live to see.
TEST_F(RuntimeLockTest, DoesNotWaitForOneThatServes) {
  const auto lock = lock_runtime_directory(path_, 0ms);
  ASSERT_TRUE(lock);
  asio::io_context io;
  asio::local::stream_protocol::acceptor acceptor(io, {control_path(path_)});
  EXPECT_FALSE(lock_runtime_directory(path_, 1h));
}

TEST_F(RuntimeLockTest, ACrowdedSocketIsServedToo) {
  const auto lock = lock_runtime_directory(path_, 0ms);
  ASSERT_TRUE(lock);
  asio::io_context io;
  asio::local::stream_protocol::acceptor acceptor(io);
  acceptor.open(asio::local::stream_protocol());
  acceptor.bind({control_path(path_)});
  acceptor.listen(0);
  asio::local::stream_protocol::socket client(io);
  client.connect({control_path(path_)});
  EXPECT_FALSE(lock_runtime_directory(path_, 1h));
}

TEST_F(RuntimeLockTest, NamesTheDirectoryThatCannotBeMade) {
  const auto lock = lock_runtime_directory(path_ + "/run/run", 0ms);
  ASSERT_FALSE(lock);
  EXPECT_EQ(lock.error().code, ENOENT);
}

}  // namespace
}  // namespace vramswap
