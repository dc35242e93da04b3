#include "daemon/worker/process/engine.hpp"

#include <gmock/gmock.h>

#include <set>

#include "tests/unit/worker/io_thread_fixture.hpp"

namespace vramswap {
namespace {

using std::chrono::milliseconds;

class EngineTest : public IoThreadTest {
 protected:
  static constexpr unsigned kThreads = 3;

  EngineTest() {
    auto engine =
        Engine::start({.backend = control::Backend::ram, .gpu = "", .io_threads = kThreads},
                      driver_, room_, report_write_.get(), false);
    EXPECT_TRUE(engine) << engine.error().message;
    engine_ = *std::move(engine);
    segment_ = &make_segment();
    for (unsigned thread = 0; thread < kThreads; ++thread) {
      auto [ours, theirs] = load::make_connection();
      EXPECT_TRUE(engine_->serve(*segment_, {10 + thread, thread}, std::move(theirs)));
      const timeval timeout{20, 0};
      setsockopt(ours.get(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
      sockets_.push_back(std::move(ours));
    }
  }
  ~EngineTest() override { engine_.reset(); }  // before what its threads use

  ServedSegment* segment_;
  DriverFiles driver_;
  ContextRoom room_;
  std::unique_ptr<Engine> engine_;
  std::vector<UniqueFd> sockets_;
};

TEST_F(EngineTest, EachThreadServesItsConnection) {
  EXPECT_EQ(engine_->thread_count(), kThreads);
  EXPECT_EQ(engine_->requests_served(), 0U);
  for (unsigned i = 0; i < kThreads; ++i) {
    EXPECT_TRUE(write_page(sockets_[i], i, i + 1));
    EXPECT_EQ(read_page(sockets_[(i + 1) % kThreads], i, i + 1), 0U);
  }
  EXPECT_EQ(engine_->requests_served(), 2 * kThreads);
  EXPECT_EQ(engine_->copy_started_at(), std::nullopt);
}

TEST_F(EngineTest, PausedItAnswersNothingAndNamesItsConnections) {
  ASSERT_TRUE(engine_->pause(milliseconds(1000)).value());
  std::set<std::uint32_t> names;
  for (const auto& parked : engine_->connections()) {
    EXPECT_EQ(parked.segment_id, segment_->id);
    names.insert(parked.connection_id);
  }
  EXPECT_THAT(names, testing::ElementsAre(10, 11, 12));
  for (const auto& socket : sockets_) EXPECT_TRUE(send_read(socket, 0, 1));
  pollfd wait{sockets_[0].get(), POLLIN, 0};
  EXPECT_EQ(poll(&wait, 1, 100), 0);
  ASSERT_TRUE(engine_->resume());
  for (const auto& socket : sockets_) EXPECT_EQ(receive_read(socket, 1, 0), 0U);
}

// All or none: those that had paused serve again.
TEST_F(EngineTest, OneThatCannotPauseKeepsAllServing) {
  ASSERT_TRUE(load::send_header(
      sockets_[1].get(),
      {.command = load::Command::write, .cookie = 0, .length = std::uint32_t{kPageBytes}}));
  const auto before = Engine::Clock::now();
  EXPECT_FALSE(engine_->pause(milliseconds(200)).value());
  EXPECT_LT(Engine::Clock::now() - before, std::chrono::seconds(10));
  for (const unsigned i : {0, 2}) {
    EXPECT_TRUE(write_page(sockets_[i], i + 1, 5));
    EXPECT_EQ(read_page(sockets_[i], i + 1, 5), 0U);
  }
  load::Page content;
  load::fill(content, 0, 6);
  ASSERT_TRUE(load::send_page(sockets_[1].get(), content, false));
  ASSERT_TRUE(load::receive_reply(sockets_[1].get()));
  EXPECT_EQ(read_page(sockets_[1], 0, 6), 0U);
  EXPECT_TRUE(engine_->pause(milliseconds(1000)).value());
  EXPECT_TRUE(engine_->resume());
}

TEST_F(EngineTest, DropEndsTheConnectionsOfAllThreads) {
  ASSERT_TRUE(engine_->drop(*segment_));
  std::set<std::uint32_t> dropped;
  for (unsigned i = 0; i < kThreads; ++i) {
    const auto report = next_report();
    EXPECT_EQ(report.end, ConnectionEnd::dropped);
    dropped.insert(report.connection_id);
  }
  EXPECT_THAT(dropped, testing::ElementsAre(10, 11, 12));
  for (const auto& socket : sockets_) EXPECT_FALSE(load::receive_reply(socket.get()));
}

}  // namespace
}  // namespace vramswap
