// Stores that move between a card and host memory under load: how long that takes, how long a
// request waits, and that no byte is wrong, whoever dies meanwhile.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <csignal>
#include <future>
#include <random>
#include <thread>

#include "tests/gpu/test_gpu.hpp"

namespace vramswap::load {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using std::chrono::seconds;

class Move : public testing::Test {
 protected:
  void SetUp() override {
    auto gpu = find_gpu();
    ASSERT_TRUE(gpu) << gpu.error().message;
    segment_ = std::make_unique<TestSegment>(gpu->uuid);
    segment_->start_worker();
    const auto written = generator_.write_all(segment_->sockets());
    ASSERT_EQ(written.failed_replies + written.ended_connections, 0U);
  }

  void expect_every_byte_is_right() {
    const auto verified = generator_.verify(segment_->sockets());
    EXPECT_EQ(verified.wrong_words, 0U) << verified.summary();
    EXPECT_EQ(verified.failed_replies, 0U) << verified.summary();
    EXPECT_EQ(verified.ended_connections, 0U) << verified.summary();
  }

  std::uint64_t rounds(std::uint64_t usual) const {
    return std::min(usual, number_from_environment("VRAMSWAP_RECOVERY_ROUNDS", usual));
  }

  std::unique_ptr<TestSegment> segment_;
  LoadGenerator generator_{
      0, segment_bytes(), {.depth = 4, .read_pages = {1, 8}, .write_pages = {1, 8}}};
};

TEST_F(Move, OutAndBackUnderLoad) {
  std::vector<double> out_ms;
  std::vector<double> back_ms;
  std::vector<double> prepare_ms;
  auto load = std::async(std::launch::async,
                         [&] { return generator_.run(segment_->sockets(), seconds(600)); });
  for (std::uint64_t round = 0; round < rounds(5); ++round) {
    const auto out = segment_->move_to(StorePlace::host);
    ASSERT_TRUE(out) << out.error().message;
    ASSERT_EQ(segment_->place(), StorePlace::host);
    const auto left = segment_->worker().ask(messages::Replace{.program = "", .leaves_card = true});
    ASSERT_TRUE(left) << left.error().message;
    EXPECT_FALSE(segment_->worker().context_reserve);
    std::this_thread::sleep_for(milliseconds(100));
    const auto back = segment_->move_to(StorePlace::card);
    ASSERT_TRUE(back) << back.error().message;
    ASSERT_EQ(segment_->place(), StorePlace::card);
    prepare_ms.push_back(out->prepare_ms);
    out_ms.push_back(out->finish_ms);
    back_ms.push_back(back->finish_ms);
  }
  generator_.stop();
  const LoadResult result = load.get();
  EXPECT_EQ(result.wrong_words, 0U) << result.summary();
  EXPECT_EQ(result.failed_replies, 0U);
  EXPECT_EQ(result.ended_connections, 0U);
  expect_every_byte_is_right();
  say(fmt::format("move segment_mib={} prepare_out_ms {} out_ms {} back_ms {}",
                  segment_bytes() >> 20, p50_and_max(prepare_ms), p50_and_max(out_ms),
                  p50_and_max(back_ms)));
  say("move under load: " + result.summary());
}

TEST_F(Move, WhoeverIsKilledMeanwhileOneStoreHasAllPages) {
  std::mt19937_64 random(1);
  const auto target = [&] {
    return segment_->place() == StorePlace::card ? StorePlace::host : StorePlace::card;
  };
  const auto usual = segment_->move_to(target());
  ASSERT_TRUE(usual) << usual.error().message;
  const double longest_ms = 2 * (usual->prepare_ms + usual->finish_ms);
  std::uint64_t moved = 0;
  std::uint64_t killed = 0;
  for (std::uint64_t round = 0; round < rounds(20); ++round) {
    const auto delay = milliseconds(random() % (static_cast<std::uint64_t>(longest_ms) + 1));
    const pid_t worker = segment_->worker().pid();
    auto killer = std::async(std::launch::async, [=] {
      std::this_thread::sleep_for(delay);
      kill(worker, SIGKILL);
    });
    const auto result = segment_->move_to(target());
    ++(result ? moved : killed);
    killer.get();
    segment_->start_worker();
    ASSERT_NO_FATAL_FAILURE(expect_every_byte_is_right()) << "round " << round;
    const auto changed = generator_.run(segment_->sockets(), milliseconds(50));
    ASSERT_EQ(changed.wrong_words + changed.failed_replies + changed.ended_connections, 0U)
        << "round " << round << ": " << changed.summary();
  }
  expect_every_byte_is_right();
  say(fmt::format("move killed: {} moved before, {} not", moved, killed));
}

}  // namespace
}  // namespace vramswap::load
