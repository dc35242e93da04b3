// A worker that dozes on a real card: the power that it saves, the cost of the first request
// afterwards, and that the VRAM keeps its content meanwhile. The power is measured, not judged: it
// is the card's.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cstdio>
#include <optional>
#include <thread>

#include "tests/gpu/test_gpu.hpp"

namespace vramswap::load {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::uint32_t kPagesAtOnce = 256;
constexpr seconds kDozeLimit{20};
constexpr seconds kReplyLimit{30};
constexpr seconds kSettle{10};
constexpr seconds kMeasure{6};
constexpr milliseconds kSampleEvery{200};

struct Sample {
  double watts = 0;
  double sm_mhz = 0;
};

// Nothing where nvidia-smi cannot tell.
std::optional<Sample> sample(const std::string& uuid) {
  const auto command = fmt::format(
      "timeout 5 nvidia-smi --query-gpu=power.draw,clocks.sm --format=csv,noheader,nounits -i {} "
      "2>/dev/null",
      uuid);
  FILE* output = popen(command.c_str(), "r");
  if (output == nullptr) return std::nullopt;
  Sample read;
  const bool complete = std::fscanf(output, "%lf, %lf", &read.watts, &read.sm_mhz) == 2;
  return pclose(output) == 0 && complete ? std::optional(read) : std::nullopt;
}

void measure_power(const std::string& uuid, const char* state) {
  say(fmt::format("power: {}, settling", state));
  std::this_thread::sleep_for(kSettle);
  Sample sum;
  unsigned count = 0;
  const auto end = Clock::now() + kMeasure;
  for (auto next = Clock::now(); next < end; next += kSampleEvery) {
    std::this_thread::sleep_until(next);
    if (const auto read = sample(uuid)) {
      sum.watts += read->watts;
      sum.sm_mhz += read->sm_mhz;
      ++count;
    }
  }
  ASSERT_GT(count, 0U) << "nvidia-smi said nothing";
  say(fmt::format("power_w state={} mean={:.1f} sm_mhz={:.0f} samples={}", state, sum.watts / count,
                  sum.sm_mhz / count, count));
}

class Doze : public testing::Test {
 protected:
  void SetUp() override {
    auto gpu = find_gpu();
    ASSERT_TRUE(gpu) << gpu.error().message;
    uuid_ = gpu->uuid;
    segment_ = std::make_unique<TestSegment>(uuid_);
  }

  void start_worker(seconds doze_after) {
    segment_->start_worker(doze_after);
    socket_ = segment_->sockets().front();
    const timeval limit{kReplyLimit.count(), 0};
    setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  }

  bool expect_reply() {
    const auto reply = receive_reply(socket_);
    EXPECT_TRUE(reply && reply->error == 0);
    return reply && reply->error == 0;
  }

  void read_pages(std::uint64_t first, std::uint32_t count) {
    ASSERT_TRUE(send_header(
        socket_, {.offset = first * sizeof(Page), .length = count * std::uint32_t{sizeof(Page)}}));
    ASSERT_TRUE(expect_reply());
    Page content;
    for (std::uint32_t i = 0; i < count; ++i) {
      ASSERT_TRUE(receive_page(socket_, content));
      wrong_words_ += count_wrong_words(content, first + i, 1);
    }
  }

  void read_everything() {
    for (std::uint64_t first = 0; first < pages_; first += kPagesAtOnce) {
      ASSERT_NO_FATAL_FAILURE(read_pages(first, kPagesAtOnce));
    }
    EXPECT_EQ(wrong_words_, 0U);
  }

  std::string uuid_;
  std::unique_ptr<TestSegment> segment_;
  int socket_ = -1;
  const std::uint64_t pages_ = segment_bytes() / sizeof(Page);
  std::uint64_t wrong_words_ = 0;
};

TEST_F(Doze, WakesForARequestAndKeepsTheBytes) {
  const auto rounds =
      std::min<std::uint64_t>(20, number_from_environment("VRAMSWAP_RECOVERY_ROUNDS", 20));
  start_worker(seconds(1));
  ASSERT_TRUE(segment_->write_everything());
  std::vector<double> wake_ms;
  for (std::uint64_t round = 0; round < rounds; ++round) {
    ASSERT_TRUE(segment_->worker().wait_for_state(WorkerState::dozing, kDozeLimit));
    const auto start = Clock::now();
    ASSERT_NO_FATAL_FAILURE(read_pages(round * 7919 % pages_, 1));
    wake_ms.push_back(std::chrono::duration<double, std::milli>(Clock::now() - start).count());
    ASSERT_TRUE(segment_->worker().wait_for_state(WorkerState::serving, kReplyLimit));
    if ((round + 1) % 5 == 0) say(fmt::format("wake: round {}", round + 1));
  }
  ASSERT_NO_FATAL_FAILURE(read_everything());
  say(fmt::format("wake_ms rounds={} {} wrong_words={}", rounds, p50_and_max(wake_ms),
                  wrong_words_));
}

TEST_F(Doze, PowerOfTheCard) {
  if (!sample(uuid_)) GTEST_SKIP() << "nvidia-smi does not tell the power of " << uuid_;
  start_worker(seconds(2));
  ASSERT_TRUE(segment_->write_everything());
  ASSERT_TRUE(segment_->worker().wait_for_state(WorkerState::dozing, kDozeLimit));
  ASSERT_NO_FATAL_FAILURE(measure_power(uuid_, "dozing"));
  EXPECT_FALSE(segment_->worker().wait_for_state(WorkerState::waking, milliseconds(1)))
      << "it woke";
  ASSERT_NO_FATAL_FAILURE(read_everything());

  start_worker(seconds(0));
  ASSERT_NO_FATAL_FAILURE(read_everything());
  ASSERT_NO_FATAL_FAILURE(measure_power(uuid_, "awake"));
  ASSERT_NO_FATAL_FAILURE(read_everything());

  segment_.reset();
  ASSERT_NO_FATAL_FAILURE(measure_power(uuid_, "nothing"));
}

}  // namespace
}  // namespace vramswap::load
