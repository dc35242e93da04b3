// Whole worker processes under load: deaths, resent requests, and that no byte is wrong.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <string>
#include <thread>

#include "daemon/worker/store/ram_store.hpp"
#include "tests/load/worker_fixture.hpp"
#include "tests/support/stored_zeros.hpp"

namespace vramswap::load {
namespace {

using control::Backend;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

class WorkerUnderLoad : public testing::Test {
 protected:
  void SetUp() override {
    page_map_ = PageMap::create(kSegmentBytes / sizeof(Page)).value();
    spawn();
    store_ = worker_->create(0, kSegmentBytes, page_map_.get()).value();
    sockets_ = worker_->connect(0, kThreads).value();
  }

  // A new worker in the place of the old one, if any.
  void spawn() {
    worker_.reset();
    auto worker = WorkerProcess::spawn({test_worker(), "--unhardened"});
    ASSERT_TRUE(worker) << worker.error().message;
    worker_ = std::make_unique<WorkerProcess>(*std::move(worker));
    const auto device = worker_->start(Backend::ram, "", kThreads);
    ASSERT_TRUE(device) << device.error().message;
  }

  // Under load.
  void run_until_killed() {
    std::thread killer([this] {
      std::this_thread::sleep_for(milliseconds(300));
      worker_->kill();
    });
    const auto result = run(seconds(30));
    killer.join();
    EXPECT_EQ(result.ended_connections, kThreads);
    expect_clean(result);
  }

  void import_again() {
    const auto imported = worker_->import(0, kSegmentBytes, page_map_.get(), store_.get());
    ASSERT_TRUE(imported) << imported.error().message;
    sockets_ = worker_->connect(0, kThreads).value();
  }

  // Changes a word of some pages behind the worker's back. Returns the number of pages.
  std::uint64_t damage_pages(bool with_checksums) {
    auto pages = PageMap::map(page_map_.get(), kSegmentBytes / sizeof(Page)).value();
    void* memory =
        mmap(nullptr, kSegmentBytes, PROT_READ | PROT_WRITE, MAP_SHARED, store_.get(), 0);
    EXPECT_NE(memory, MAP_FAILED);
    const std::span<Page> stored(static_cast<Page*>(memory), pages.page_count());
    std::uint64_t damaged = 0;
    for (std::uint64_t page = 0; page < pages.page_count(); page += 100) {
      if (pages.at(page) != PageState::valid) continue;
      stored[page][page % stored[page].size()] ^= 1ULL << page % 64;
      const auto bytes = std::as_bytes(std::span(stored[page]));
      if (with_checksums) pages.set_valid(page, page_checksum(bytes));
      ++damaged;
    }
    munmap(memory, kSegmentBytes);
    return damaged;
  }

  LoadResult run(milliseconds duration) { return load_.run(raw(sockets_), duration); }
  LoadResult verify() { return load_.verify(raw(sockets_)); }

  UniqueFd page_map_;
  UniqueFd store_;
  std::unique_ptr<WorkerProcess> worker_;
  std::vector<UniqueFd> sockets_;
  LoadGenerator load_{1, kSegmentBytes, {.discard_share = 0.05}};
};

TEST_F(WorkerUnderLoad, EveryByteIsRight) {
  const auto result = run(seconds(2));
  expect_clean(result);
  EXPECT_EQ(result.ended_connections, 0U);
  expect_clean(verify());
}

// The load itself: that it would notice, where the checksums are those of the wrong words.
TEST_F(WorkerUnderLoad, EveryWrongWordIsSeen) {
  expect_clean(run(milliseconds(500)));
  const std::uint64_t damaged = damage_pages(true);
  EXPECT_GT(damaged, 0U);
  EXPECT_EQ(verify().wrong_words, damaged);
}

TEST_F(WorkerUnderLoad, NoWrongWordLeavesTheWorker) {
  expect_clean(run(milliseconds(500)));
  const std::uint64_t damaged = damage_pages(false);
  // The first one found may end its connection. The load does not come back then, as the kernel
  // does.
  (void)verify();
  sockets_ = worker_->connect(0, kThreads).value();
  const auto result = verify();
  EXPECT_EQ(result.wrong_words, 0U);
  EXPECT_GT(result.failed_replies, 0U);
  EXPECT_EQ(result.ended_connections, 0U) << result.summary();
  const auto pages = PageMap::map(page_map_.get(), kSegmentBytes / sizeof(Page)).value();
  EXPECT_EQ(pages.count(PageState::lost), damaged);
  EXPECT_EQ(pages.corrupt_count(), damaged);
  std::this_thread::sleep_for(milliseconds(1500));
  (void)worker_->ask(messages::ReportStats{});
  EXPECT_GE(worker_->lost_pages_changes, 2U) << "the first one at once, the others within a second";
}

TEST_F(WorkerUnderLoad, OneThreadAConnectionMakesTheSameLoad) {
  LoadOptions options{.depth = 32, .read_pages = {1, 64}, .one_thread = true};
  const auto written = load_.write_all(raw(sockets_));
  expect_clean(written);
  EXPECT_EQ(written.written_bytes, kSegmentBytes);
  for (const double write_share : {0.0, 1.0}) {
    options.write_share = write_share;
    load_.set_options(options);
    const auto result = run(milliseconds(300));
    expect_uninterrupted(result);
    EXPECT_GT(write_share > 0 ? result.written_bytes : result.read_bytes, 0U);
    EXPECT_GT(result.cpu_time, result.elapsed / 100);
  }
  expect_clean(verify());
  // It ends with its worker, and unanswered requests are sent again.
  run_until_killed();
  spawn();
  import_again();
  expect_uninterrupted(run(milliseconds(100)));
  expect_clean(verify());
}

TEST_F(WorkerUnderLoad, StopsWhenTold) {
  std::thread stopper([this] {
    std::this_thread::sleep_for(milliseconds(200));
    load_.stop();
  });
  const auto result = run(seconds(100));
  stopper.join();
  expect_clean(result);
  EXPECT_LT(result.elapsed, seconds(20));
  EXPECT_EQ(result.ended_connections, 0U);
}

TEST_F(WorkerUnderLoad, KilledAgainAndAgainItLosesNothing) {
  for (int round = 0; round < 5; ++round) {
    run_until_killed();
    spawn();
    import_again();
  }
  expect_clean(verify());
}

TEST_F(WorkerUnderLoad, KeepsServingWithoutASupervisor) {
  expect_clean(run(milliseconds(300)));
  worker_->close_channel();
  const auto result = run(seconds(1));
  expect_clean(result);
  EXPECT_EQ(result.ended_connections, 0U);
}

// The end of a socket leaves a message unread in the channel, whose end is then an ECONNRESET.
TEST_F(WorkerUnderLoad, KeepsServingAfterASupervisorThatDidNotListen) {
  sockets_.pop_back();
  std::this_thread::sleep_for(milliseconds(100));
  worker_->close_channel();
  const auto result = run(milliseconds(500));
  expect_clean(result);
  EXPECT_EQ(result.ended_connections, 0U);
}

// Sockets that end mean "connect me again": with or without a supervisor, the bytes stay.
TEST_F(WorkerUnderLoad, WithoutSupervisorAndSocketsItEndsAndKeepsTheBytes) {
  expect_clean(run(milliseconds(300)));
  worker_->close_channel();
  sockets_.clear();
  EXPECT_EQ(worker_->wait(seconds(10)), 0);
  spawn();
  import_again();
  expect_clean(verify());
}

TEST_F(WorkerUnderLoad, AMessageThatCannotBeReadDoesNoHarm) {
  for (const char* text : {"{", "[1]", R"({"version":99,"kind":0,"fields":{}})"}) {
    const auto answer = worker_->ask_raw(text);
    ASSERT_TRUE(answer) << answer.error().message;
    EXPECT_TRUE(std::holds_alternative<messages::Failed>(answer->message)) << text;
  }
  // One that is cut short: answered too, ahead of the next.
  const std::string long_text(100 << 10, ' ');
  ASSERT_GT(send(worker_->channel(), long_text.data(), long_text.size(), 0), 0);
  const auto cut = worker_->ask_raw("{");
  ASSERT_TRUE(cut) << cut.error().message;
  EXPECT_THAT(std::get<messages::Failed>(cut->message).message, HasSubstr("cut short"));
  expect_clean(run(milliseconds(200)));
}

TEST_F(WorkerUnderLoad, ARefusedRequestHasNoEffect) {
  auto [ours, theirs] = make_connection();
  auto [ours_too, theirs_too] = make_connection();
  const auto answer =
      worker_->ask(messages::Connect{.segment = 0, .connections = {{1, 0}, {2, 99}}},
                   {theirs.get(), theirs_too.get()});
  ASSERT_TRUE(answer);
  EXPECT_TRUE(std::holds_alternative<messages::Failed>(answer->message));
  theirs.reset();
  // Not served: the worker has closed it.
  (void)send_header(ours.get(), {.command = Command::read, .length = 4096});
  EXPECT_FALSE(receive_reply(ours.get()));

  EXPECT_FALSE(worker_->create(0, kSegmentBytes, page_map_.get()));
  EXPECT_FALSE(worker_->import(7, kSegmentBytes * 2, page_map_.get(), store_.get()));
  EXPECT_FALSE(worker_->remove(7));
  EXPECT_FALSE(worker_->start(Backend::ram, "", 1));
  expect_clean(run(milliseconds(200)));
}

TEST_F(WorkerUnderLoad, RemoveClosesScrubsAndForgets) {
  expect_clean(run(milliseconds(300)));
  const auto removed = worker_->remove(0);
  ASSERT_TRUE(removed) << removed.error().message;
  EXPECT_FALSE(receive_reply(sockets_[0].get()));

  // Its bytes, seen through another descriptor and a page map that hides nothing.
  const UniqueFd all_valid = make_map_of_stored_zeros(kSegmentBytes / sizeof(Page));
  ASSERT_TRUE(worker_->import(0, kSegmentBytes, all_valid.get(), store_.get()));
  sockets_ = worker_->connect(0, 1).value();
  LoadGenerator zeros(2, kSegmentBytes);
  expect_clean(zeros.verify(raw(sockets_)));
}

TEST_F(WorkerUnderLoad, SaysHowConnectionsEnd) {
  ASSERT_TRUE(send_header(sockets_[0].get(), {.command = Command::disconnect}));
  EXPECT_FALSE(receive_reply(sockets_[0].get()));
  std::this_thread::sleep_for(milliseconds(100));
  sockets_[1].reset();
  std::this_thread::sleep_for(milliseconds(100));
  ASSERT_TRUE(worker_->connect(0, 1));
  ASSERT_EQ(worker_->ended.size(), 2U);
  EXPECT_EQ(worker_->ended[0].end, ConnectionEnd::disconnected);
  EXPECT_EQ(worker_->ended[1].end, ConnectionEnd::hung_up);
}

TEST(HardenedWorker, ServesOrSaysWhichLimitToRaise) {
  auto worker = WorkerProcess::spawn({test_worker()});
  ASSERT_TRUE(worker) << worker.error().message;
  const auto device = worker->start(Backend::ram, "", kThreads);
  const auto reason = why_not_hardened();
  if (!reason.empty()) {
    ASSERT_FALSE(device);
    EXPECT_THAT(device.error().message, HasSubstr(";")) << "no advice";
    GTEST_SKIP() << "cannot be hardened here: " << reason;
  }
  ASSERT_TRUE(device) << device.error().message;
  const auto page_map = PageMap::create(kSegmentBytes / sizeof(Page)).value();
  const auto store = worker->create(0, kSegmentBytes, page_map.get());
  ASSERT_TRUE(store) << store.error().message;
  const auto sockets = worker->connect(0, kThreads).value();
  LoadGenerator load(3, kSegmentBytes);
  expect_clean(load.run(raw(sockets), seconds(1)));
}

}  // namespace
}  // namespace vramswap::load
