// A worker that is asked for its stats, and answers or does not.
#include "daemon/supervisor/worker_process.hpp"

#include <gtest/gtest.h>
#include <poll.h>
#include <stdlib.h>

#include <filesystem>

#include "daemon/handover/worker_socket.hpp"

namespace vramswap {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

// This process plays the worker, too: it is met by its rendezvous.
class WorkerProcessTest : public testing::Test {
 protected:
  WorkerProcessTest() {
    std::string name = testing::TempDir() + "vramswap-test-XXXXXX";
    EXPECT_NE(mkdtemp(name.data()), nullptr);
    directory_ = name;
    const std::string path = worker_socket::path(directory_, 0);
    auto listener = worker_socket::listen(path);
    EXPECT_TRUE(listener) << listener.error().message;
    const WorkerProcess::Handlers handlers{
        .on_connection_ended = [](auto) {}, .on_state_changed = [](auto) {}, .on_exit = [] {}};
    auto worker = WorkerProcess::meet(io_, path, handlers);
    EXPECT_TRUE(worker) << worker.error().message;
    worker_ = *std::move(worker);
    channel_ = worker_socket::accept(listener->get());
  }
  ~WorkerProcessTest() override { std::filesystem::remove_all(directory_); }

  // Runs the supervisor's side until `work` is over.
  template <class T>
  void run(awaitable<T> work) {
    bool is_over = false;
    asio::co_spawn(
        io_,
        [&]() -> awaitable<void> {
          co_await std::move(work);
          is_over = true;
        },
        asio::detached);
    while (!is_over) io_.run_one();
  }

  awaitable<void> ask() {
    worker_->request_stats();
    co_await worker_->await_stats();
  }

  std::size_t questions() const {
    std::size_t count = 0;
    for (pollfd wait{channel_.get(), POLLIN, 0}; poll(&wait, 1, 0) > 0; ++count) {
      const auto packet = receive_packet(channel_.get()).value();
      const auto request = messages::decode_request(packet.value().text);
      EXPECT_TRUE(request && std::holds_alternative<messages::ReportStats>(*request));
    }
    return count;
  }

  void answer(const messages::Message& message) {
    EXPECT_TRUE(send_packet(channel_.get(), messages::encode(message)));
  }

  asio::io_context io_;
  std::string directory_;
  std::shared_ptr<WorkerProcess> worker_;
  UniqueFd channel_;  // the worker's end
};

messages::Stats stats_with(std::uint64_t errors) {
  return {.io = {.errors = errors}};
}

TEST_F(WorkerProcessTest, AnAnswerIsThereAtOnce) {
  EXPECT_EQ(worker_->stats(), std::nullopt);
  answer(stats_with(7));
  const auto before = Clock::now();
  run(ask());
  EXPECT_LT(Clock::now() - before, WorkerProcess::kStatsLimit);
  EXPECT_EQ(questions(), 1U);
  ASSERT_TRUE(worker_->stats());
  EXPECT_EQ(worker_->stats()->errors, 7U);
}

TEST_F(WorkerProcessTest, OneThatStandsStillIsWaitedForOnceAndAskedOnce) {
  auto before = Clock::now();
  run(ask());
  EXPECT_GE(Clock::now() - before, WorkerProcess::kStatsLimit);
  EXPECT_LT(Clock::now() - before, 10 * WorkerProcess::kStatsLimit);
  EXPECT_EQ(worker_->stats(), std::nullopt);
  before = Clock::now();
  for (int i = 0; i < 1000; ++i) run(ask());
  EXPECT_LT(Clock::now() - before, 10 * WorkerProcess::kStatsLimit);
  EXPECT_EQ(questions(), 1U);
  EXPECT_TRUE(worker_->is_running());

  // It goes on: the late answer is taken, and it is asked again.
  answer(stats_with(1));
  while (!worker_->stats()) io_.run_one();
  EXPECT_EQ(worker_->stats()->errors, 1U);
  answer(stats_with(2));
  run(ask());
  EXPECT_EQ(questions(), 1U);
  EXPECT_EQ(worker_->stats()->errors, 2U);
}

// Its answers to calls are not mixed up with the stats, whichever come first.
TEST_F(WorkerProcessTest, StatsComeBesideACall) {
  worker_->request_stats();
  answer(stats_with(3));
  answer(messages::Done{});
  run([](WorkerProcess& worker) -> awaitable<void> {
    const messages::Describe describe{"text"};
    const auto done = co_await worker.call(describe, {}, std::chrono::seconds(20));
    EXPECT_TRUE(done) << done.error().message;
    EXPECT_TRUE(done && std::holds_alternative<messages::Done>(done->message));
  }(*worker_));
  EXPECT_EQ(worker_->stats()->errors, 3U);
}

TEST_F(WorkerProcessTest, OldStatsAreNotReported) {
  answer(stats_with(4));
  run(ask());
  EXPECT_TRUE(worker_->stats());
  asio::steady_timer timer(io_, WorkerProcess::kStatsAge + milliseconds(10));
  run([](asio::steady_timer& wait) -> awaitable<void> {
    ErrorCode ignored;
    co_await wait.async_wait(into(ignored));
  }(timer));
  EXPECT_EQ(worker_->stats(), std::nullopt);
}

}  // namespace
}  // namespace vramswap
