#include "daemon/supervisor/pool/gate.hpp"

#include <gtest/gtest.h>

namespace vramswap {
namespace {

class GateTest : public testing::Test {
 protected:
  // Begins to wait; the result says whether the wait is over.
  std::shared_ptr<bool> begin(awaitable<void> work) {
    auto is_over = std::make_shared<bool>(false);
    asio::co_spawn(
        io_,
        [](awaitable<void> waiting, std::shared_ptr<bool> over) -> awaitable<void> {
          co_await std::move(waiting);
          *over = true;
        }(std::move(work), is_over),
        asio::detached);
    run();
    return is_over;
  }
  void run() {
    io_.restart();
    io_.poll();
  }

  asio::io_context io_;
};

TEST_F(GateTest, AnEmptyGateIsNotWaitedFor) {
  Gate gate(io_);
  EXPECT_TRUE(gate.is_empty());
  EXPECT_TRUE(*begin(gate.wait_until_empty()));
}

TEST_F(GateTest, WaitsUntilTheLastHasLeft) {
  Gate gate(io_);
  auto first = gate.enter();
  auto second = gate.enter();
  const auto is_over = begin(gate.wait_until_empty());
  first.reset();
  run();
  EXPECT_FALSE(*is_over);
  second->leave();
  run();
  EXPECT_TRUE(*is_over);
}

TEST_F(GateTest, AClosedGateLetsNoWorkIn) {
  Gate gate(io_);
  auto pass = gate.enter();
  const auto is_over = begin(gate.close_and_wait());
  EXPECT_FALSE(*is_over);
  EXPECT_FALSE(gate.enter());
  pass.reset();
  run();
  EXPECT_TRUE(*is_over);
  EXPECT_FALSE(gate.enter());
}

TEST_F(GateTest, OneAtATime) {
  Gate gate(io_);
  std::vector<int> order;
  const auto work = [&](int number) -> awaitable<void> {
    const auto pass = co_await gate.enter_alone();
    order.push_back(number);
    asio::steady_timer pause(io_, std::chrono::milliseconds(1));
    ErrorCode ignored;
    co_await pause.async_wait(into(ignored));
    order.push_back(number);
  };
  for (const int number : {1, 2, 3}) asio::co_spawn(io_, work(number), asio::detached);
  io_.run();
  EXPECT_EQ(order, (std::vector<int>{1, 1, 2, 2, 3, 3}));
}

TEST_F(GateTest, APassMayOutliveItsGate) {
  std::optional<Gate::Pass> pass;
  {
    Gate gate(io_);
    pass = gate.enter();
  }
  pass.reset();
}

}  // namespace
}  // namespace vramswap
