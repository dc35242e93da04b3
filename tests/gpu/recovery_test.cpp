// Workers that die on a real card, again and again under load: by SIGKILL, and by a GPU exception
// of their own. Their unanswered requests are sent again to the next worker, and no byte may be
// wrong.
//
// On a machine without the build's libraries, in about five minutes:
//   mkdir -p build/card && cp build/dev/bin/{recovery_gpu_test,test_worker} build/card
//   cp -L $(ldd build/card/test_worker | awk '/fmt/ {print $3}') build/card
//   LD_LIBRARY_PATH=$PWD/build/card build/card/recovery_gpu_test      # over there
// VRAMSWAP_RECOVERY_ROUNDS and VRAMSWAP_RECOVERY_SEGMENT_MIB make it shorter.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <future>
#include <optional>
#include <random>
#include <thread>

#include "daemon/worker/io/io_thread.hpp"
#include "tests/gpu/test_gpu.hpp"

namespace vramswap::load {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using std::chrono::seconds;

// A hang ends the program; its workers end with their sockets.
constexpr unsigned kTimeLimitSeconds = 355;
constexpr seconds kDeathLimit{20};
constexpr seconds kRoundLimit{30};
constexpr unsigned kRoundsToVerify = 10;

double milliseconds_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double, std::milli>(to - from).count();
}

class Recovery : public testing::Test {
 protected:
  void SetUp() override {
    auto gpu = find_gpu();
    ASSERT_TRUE(gpu) << gpu.error().message;
    segment_ = std::make_unique<TestSegment>(gpu->uuid);
    segment_->start_worker();
  }

  void count(const LoadResult& result) {
    wrong_words_ += result.wrong_words;
    failed_replies_ += result.failed_replies;
    operations_ += result.operations;
  }

  void verify_everything() {
    const auto result = load_.verify(segment_->sockets());
    EXPECT_EQ(result.read_bytes, segment_bytes());
    EXPECT_EQ(result.ended_connections, 0U);
    count(result);
  }

  // `signal` comes at a random moment of the load; the worker must end with `status`.
  void kill_again_and_again(const char* kind, int signal, int status) {
    const auto rounds = number_from_environment("VRAMSWAP_RECOVERY_ROUNDS", 50);
    std::mt19937_64 random(1);
    for (std::uint64_t round = 0; round <= rounds; ++round) {
      auto running = std::async(std::launch::async, [this, round, rounds] {
        return load_.run(segment_->sockets(),
                         round < rounds ? milliseconds(kRoundLimit) : milliseconds(300));
      });
      if (round == rounds) {
        note(running.get(), round);
        break;
      }
      std::this_thread::sleep_for(milliseconds(50 + random() % 550));
      const auto now = Clock::now();
      ::kill(segment_->worker().pid(), signal);
      const auto ended = segment_->worker().wait(kDeathLimit);
      ended_ms_.push_back(milliseconds_between(now, Clock::now()));
      if (!ended) load_.stop();
      const auto result = running.get();
      ASSERT_EQ(ended, status) << "round " << round;
      EXPECT_EQ(result.ended_connections, kConnections);
      note(result, round);
      killed_ = now;
      segment_->start_worker();
      if ((round + 1) % kRoundsToVerify == 0) {
        note(load_.verify(segment_->sockets()), round);
        say(fmt::format("{}: round {}, {} operations, {} wrong words", kind, round + 1, operations_,
                        wrong_words_));
      }
    }
    verify_everything();
    say(fmt::format("restart_ms kind={} rounds={} {} wrong_words={}", kind, rounds,
                    p50_and_max(restart_ms_), wrong_words_));
    say(fmt::format("ended_ms kind={} {}", kind, p50_and_max(ended_ms_)));
    EXPECT_EQ(wrong_words_, 0U);
    EXPECT_EQ(failed_replies_, 0U);
    EXPECT_EQ(restart_ms_.size(), rounds);
  }

  void note(const LoadResult& result, std::uint64_t round) {
    count(result);
    EXPECT_GT(result.operations, 0U) << "round " << round;
    if (!killed_ || result.operations == 0) return;
    restart_ms_.push_back(milliseconds_between(*killed_, result.first_reply));
    killed_.reset();
  }

  std::unique_ptr<TestSegment> segment_;
  LoadGenerator load_{1, segment_bytes(), {.reply_timeout = kRoundLimit}};
  std::uint64_t wrong_words_ = 0;
  std::uint64_t failed_replies_ = 0;
  std::uint64_t operations_ = 0;
  std::optional<Clock::time_point> killed_;  // the worker whose successor has not answered yet
  std::vector<double> restart_ms_;  // from the signal to the first reply of the next worker
  std::vector<double> ended_ms_;    // from the signal to the end of the process
};

TEST_F(Recovery, KilledWorkersLoseNothing) {
  kill_again_and_again("sigkill", SIGKILL, -SIGKILL);
}

TEST_F(Recovery, WorkersThatLostTheirContextLoseNothing) {
  kill_again_and_again("sticky", SIGUSR1, kExitStoreFailed);
}

}  // namespace
}  // namespace vramswap::load

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (GTEST_FLAG_GET(list_tests)) return RUN_ALL_TESTS();
  const auto gpu = vramswap::load::find_gpu();
  if (!gpu) {
    vramswap::load::say("skipped: " + gpu.error().message);
    return 77;
  }
  vramswap::load::say(gpu->name + ", " + gpu->uuid);
  alarm(vramswap::load::kTimeLimitSeconds);
  return RUN_ALL_TESTS();
}
