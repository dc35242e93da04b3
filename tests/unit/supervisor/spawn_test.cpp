#include "daemon/supervisor/spawn.hpp"

#include <gtest/gtest.h>

#include <stdexcept>

namespace vramswap {
namespace {

awaitable<void> throw_later() {
  throw std::runtime_error("a test");
  co_return;
}

TEST(SpawnDeathTest, AnExceptionIsLoggedAndAborts) {
  EXPECT_EXIT(
      {
        asio::io_context io;
        spawn(io, throw_later());
        io.run();
      },
      testing::KilledBySignal(SIGABRT), "a test");
}

}  // namespace
}  // namespace vramswap
