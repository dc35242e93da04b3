// A worker that is asked for its statistics, and answers or does not; over a real channel.
#include "daemon/supervisor/pool/worker_process.hpp"

#include <gtest/gtest.h>
#include <poll.h>

#include "daemon/handover/worker_socket.hpp"
#include "daemon/supervisor/machine/process_launcher.hpp"
#include "tests/fake_machine/fake_machine.hpp"
#include "tests/support/temp_directory.hpp"

namespace vramswap {
namespace {

using std::chrono::milliseconds;

// This process plays the worker, too: it listens on the worker's socket.
class WorkerProcessTest : public testing::Test {
 protected:
  WorkerProcessTest() : launcher_(machine_.io, "/proc") {
    const std::string path = worker_socket::path(directory_.path(), 0);
    auto listener = worker_socket::listen(path);
    EXPECT_TRUE(listener) << listener.error().message;
    auto link = launcher_.reattach(path);
    EXPECT_TRUE(link) << link.error().message;
    worker_ = WorkerProcess::watch(machine_.interfaces, *std::move(link));
    channel_ = worker_socket::accept(listener->get());
  }

  // Runs the supervisor's side until `work` is over.
  void run(awaitable<void> work) {
    bool is_over = false;
    asio::co_spawn(
        machine_.io,
        [&]() -> awaitable<void> {
          co_await std::move(work);
          is_over = true;
        },
        asio::detached);
    machine_.run_until([&] { return is_over; });
  }

  awaitable<void> ask() {
    worker_->request_stats();
    co_await worker_->await_stats();
  }

  std::size_t requests() const {
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
  Clock::TimePoint now() const { return machine_.clock.now(); }

  TempDirectory directory_;
  fake::FakeMachine machine_;
  ProcessLauncher launcher_;
  std::shared_ptr<WorkerProcess> worker_;
  UniqueFd channel_;  // the worker's end
};

messages::Stats stats_with(std::uint64_t errors) {
  return {.io = {.errors = errors}};
}

TEST_F(WorkerProcessTest, AnAnswerIsThereAtOnce) {
  EXPECT_EQ(worker_->stats(), std::nullopt);
  answer(stats_with(7));
  const auto before = now();
  run(ask());
  EXPECT_EQ(now(), before);
  EXPECT_EQ(requests(), 1U);
  ASSERT_TRUE(worker_->stats());
  EXPECT_EQ(worker_->stats()->errors, 7U);
}

TEST_F(WorkerProcessTest, OneThatStandsStillIsWaitedForOnceAndAskedOnce) {
  const auto before = now();
  run(ask());
  EXPECT_EQ(now() - before, WorkerProcess::kStatsLimit);
  EXPECT_EQ(worker_->stats(), std::nullopt);
  for (int i = 0; i < 1000; ++i) run(ask());
  EXPECT_EQ(now() - before, WorkerProcess::kStatsLimit);
  EXPECT_EQ(requests(), 1U);
  EXPECT_TRUE(worker_->is_running());

  // It runs again: the supervisor takes the late answer, and asks again.
  answer(stats_with(1));
  machine_.settle();
  ASSERT_TRUE(worker_->stats());
  EXPECT_EQ(worker_->stats()->errors, 1U);
  answer(stats_with(2));
  run(ask());
  EXPECT_EQ(requests(), 1U);
  EXPECT_EQ(worker_->stats()->errors, 2U);
}

// Its answers to calls are not mixed up with the statistics, whichever come first.
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
  machine_.pass(WorkerProcess::kStatsAge + milliseconds(10));
  EXPECT_EQ(worker_->stats(), std::nullopt);
}

// The fake worker has no process, so that it may be killed.
TEST(SilentWorkerTest, OneThatDoesNotAnswerACallIsKilled) {
  fake::FakeMachine machine;
  const auto link = machine.launcher.spawn().value();
  auto& silent = machine.launcher.latest();
  silent.answers = false;
  const auto worker = WorkerProcess::watch(machine.interfaces, link);
  const messages::Describe describe{"text"};
  const auto answer = machine.run(worker->call(describe, {}, std::chrono::seconds(20)));
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().message, "worker 1000: no answer within 20 s");
  machine.settle();
  EXPECT_FALSE(silent.is_alive);
  EXPECT_FALSE(worker->is_running());
}

TEST(SilentWorkerTest, OneThatIsOnlyAskedLivesAndItsLateAnswerIsDropped) {
  fake::FakeMachine machine;
  const auto worker = WorkerProcess::watch(machine.interfaces, machine.launcher.spawn().value());
  auto& silent = machine.launcher.latest();
  silent.stop();
  const messages::Adopt adopt;
  const auto none = machine.run(worker->ask(adopt, {}, std::chrono::seconds(20)));
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, ETIMEDOUT);
  EXPECT_TRUE(worker->is_running());
  silent.go_on();
  const messages::Describe describe{"text"};
  const auto answer = machine.run(worker->call(describe, {}, std::chrono::seconds(20)));
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_TRUE(std::holds_alternative<messages::Done>(answer->message));
}

// The packet is gone, the channel is not.
TEST(SilentWorkerTest, AnAnswerThatIsTooLargeFailsOneCall) {
  fake::FakeMachine machine;
  const auto worker = WorkerProcess::watch(machine.interfaces, machine.launcher.spawn().value());
  auto& talker = machine.launcher.latest();
  const messages::Describe describe{"text"};
  talker.answers = false;
  std::optional<int> code;
  asio::co_spawn(
      machine.io,
      [&]() -> awaitable<void> {
        const auto failed = co_await worker->call(describe, {}, std::chrono::seconds(20));
        code = failed ? 0 : failed.error().code;
      },
      asio::detached);
  machine.settle();
  talker.fail_receive(EMSGSIZE);
  machine.settle();
  EXPECT_EQ(code, EMSGSIZE);
  talker.answers = true;
  const auto answer = machine.run(worker->call(describe, {}, std::chrono::seconds(20)));
  EXPECT_TRUE(answer) << answer.error().message;
  EXPECT_TRUE(worker->is_running());
}

TEST(SilentWorkerTest, AChannelThatCannotBeReadForAMomentIsReadAgain) {
  fake::FakeMachine machine;
  const auto worker = WorkerProcess::watch(machine.interfaces, machine.launcher.spawn().value());
  auto& talker = machine.launcher.latest();
  for (const int code : {ENOBUFS, ENOMEM, EINTR, EMFILE}) talker.fail_receive(code);
  const messages::Describe describe{"text"};
  const auto answer = machine.run(worker->call(describe, {}, std::chrono::seconds(20)));
  EXPECT_TRUE(answer) << answer.error().message;
}

TEST(SilentWorkerTest, CallsAreMadeOneAfterAnother) {
  fake::FakeMachine machine;
  const auto worker = WorkerProcess::watch(machine.interfaces, machine.launcher.spawn().value());
  unsigned answers = 0;
  for (int i = 0; i < 3; ++i) {
    asio::co_spawn(
        machine.io,
        [&]() -> awaitable<void> {
          const messages::Describe describe{"text"};
          const auto done = co_await worker->call(describe, {}, std::chrono::seconds(20));
          EXPECT_TRUE(done) << done.error().message;
          ++answers;
        },
        asio::detached);
  }
  machine.settle();
  EXPECT_EQ(answers, 3U);
}

}  // namespace
}  // namespace vramswap
