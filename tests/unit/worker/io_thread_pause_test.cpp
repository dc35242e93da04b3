#include <linux/sockios.h>
#include <sys/ioctl.h>

#include <chrono>
#include <future>
#include <thread>

#include "tests/load/load_generator.hpp"
#include "tests/unit/worker/io_thread_fixture.hpp"

namespace vramswap {
namespace {

using load::Command;
using load::Page;
using std::chrono::milliseconds;
using std::chrono::seconds;

class IoThreadPauseTest : public IoThreadTest {
 protected:
  static bool is_readable_within(const UniqueFd& socket, milliseconds limit) {
    pollfd wait{socket.get(), POLLIN, 0};
    return poll(&wait, 1, static_cast<int>(limit.count())) > 0;
  }

  static void wait_until_received(const UniqueFd& socket) {
    for (int unread = 1; unread != 0; std::this_thread::yield()) {
      ASSERT_EQ(ioctl(socket.get(), SIOCOUTQ, &unread), 0);
    }
  }

  // The segment as another process has it: the same store and page map, all else its own.
  ServedSegment& take_over(ServedSegment& original, int page_map) {
    ServedSegment& segment = segments_.emplace_back();
    segment.id = original.id;
    segment.store = device_.import(original.store->export_fd().value(), kSegmentBytes).value();
    segment.set_pages(PageMap::map(page_map, kPages).value());
    return segment;
  }
};

TEST_F(IoThreadPauseTest, HandsLoadedSocketsToAnotherThreadWithoutAByteLost) {
  ServedSegment* segment = &segments_.emplace_back();
  segment->id = 1;
  segment->store = device_.create(kSegmentBytes).value();
  const auto page_map = PageMap::create(kPages).value();
  segment->set_pages(PageMap::map(page_map.get(), kPages).value());
  auto thread = start();
  std::vector<UniqueFd> sockets;
  std::vector<int> fds;
  for (int i = 0; i < 3; ++i) {
    fds.push_back(sockets.emplace_back(connect(*thread, *segment)).get());
  }
  load::LoadGenerator generator(1, kSegmentBytes, {.depth = 16, .discard_share = 0.1});
  auto loaded = std::async(std::launch::async, [&] {
    auto result = generator.run(fds, seconds(3));
    result.add(generator.verify(fds));
    return result;
  });
  int moves = 0;
  while (loaded.wait_for(milliseconds(20)) == std::future_status::timeout) {
    const auto paused = thread->pause(seconds(5));
    ASSERT_TRUE(paused && *paused) << moves;
    EXPECT_FALSE(thread->copy_started_at());
    const auto served = thread->requests_served();
    ServedSegment& next_segment = take_over(*segment, page_map.get());
    auto next_thread = start();
    ASSERT_EQ(thread->connections().size(), fds.size());
    for (const auto& parked : thread->connections()) {
      auto connection = std::make_unique<Connection>(duplicate(parked.socket), next_segment,
                                                     parked.connection_id);
      EXPECT_EQ(thread->requests_served(), served);
      ASSERT_TRUE(next_thread->add(std::move(connection)));
    }
    thread = std::move(next_thread);
    segment = &next_segment;
    ++moves;
  }
  const auto result = loaded.get();
  EXPECT_GT(moves, 10);
  EXPECT_GT(result.operations, 0U);
  EXPECT_EQ(result.wrong_words, 0U) << result.summary();
  EXPECT_EQ(result.failed_replies, 0U);
  EXPECT_EQ(result.ended_connections, 0U);
}

TEST_F(IoThreadPauseTest, PausesAndResumesUnderLoad) {
  const auto thread = start();
  ServedSegment& segment = make_segment();
  const UniqueFd sockets[] = {connect(*thread, segment), connect(*thread, segment)};
  const std::array fds{sockets[0].get(), sockets[1].get()};
  load::LoadGenerator generator(1, kSegmentBytes, {.depth = 16});
  auto loaded = std::async(std::launch::async, [&] { return generator.run(fds, seconds(1)); });
  while (loaded.wait_for(milliseconds(1)) == std::future_status::timeout) {
    const auto paused = thread->pause(seconds(5));
    ASSERT_TRUE(paused && *paused);
    ASSERT_TRUE(thread->resume());
  }
  const auto result = loaded.get();
  EXPECT_EQ(result.wrong_words, 0U) << result.summary();
  EXPECT_EQ(result.ended_connections, 0U);
}

TEST_F(IoThreadPauseTest, TellsWhichConnectionsItHas) {
  const auto thread = start();
  ServedSegment& first = make_segment();
  ServedSegment& second = make_segment();
  std::vector<UniqueFd> ends;
  std::vector<int> sockets;
  for (const auto& [segment, connection_id] : {std::pair{&first, 3U}, std::pair{&second, 5U}}) {
    auto [ours, theirs] = load::make_connection();
    sockets.push_back(theirs.get());
    ends.push_back(std::move(ours));
    ASSERT_TRUE(
        thread->add(std::make_unique<Connection>(std::move(theirs), *segment, connection_id)));
  }
  ASSERT_TRUE(thread->pause(seconds(5)).value());
  const auto parked = thread->connections();
  ASSERT_EQ(parked.size(), 2U);
  EXPECT_EQ(parked[0].segment_id, first.id);
  EXPECT_EQ(parked[0].connection_id, 3U);
  EXPECT_EQ(parked[0].socket, sockets[0]);
  EXPECT_EQ(parked[1].segment_id, second.id);
  EXPECT_EQ(parked[1].connection_id, 5U);
  EXPECT_EQ(parked[1].socket, sockets[1]);
}

TEST_F(IoThreadPauseTest, RequestsSentMeanwhileStayInTheSocket) {
  const auto thread = start();
  ServedSegment& segment = make_segment();
  const auto socket = connect(*thread, segment);
  ASSERT_TRUE(thread->pause(seconds(5)).value());
  ASSERT_TRUE(thread->pause(seconds(5)).value());  // it is already
  ASSERT_TRUE(send_write(socket, 1, 1));
  EXPECT_FALSE(is_readable_within(socket, milliseconds(50)));
  EXPECT_EQ(thread->requests_served(), 0U);
  ASSERT_TRUE(thread->resume());
  EXPECT_TRUE(load::receive_reply(socket.get()));
  EXPECT_EQ(read_page(socket, 1, 1), 0U);
  EXPECT_EQ(thread->requests_served(), 2U);
}

TEST_F(IoThreadPauseTest, HalfAHeaderCallsThePauseOff) {
  const auto thread = start();
  ServedSegment& segment = make_segment();
  const auto half = connect(*thread, segment);
  const auto other = connect(*thread, segment);
  const auto header = load::encode({.command = Command::flush});
  ASSERT_EQ(send(half.get(), header.data(), 14, 0), 14);
  wait_until_received(half);
  ASSERT_TRUE(write_page(other, 1, 1));
  EXPECT_FALSE(thread->pause(milliseconds(50)).value());
  EXPECT_EQ(read_page(other, 1, 1), 0U);
  ASSERT_EQ(send(half.get(), header.data() + 14, 14, 0), 14);
  EXPECT_TRUE(load::receive_reply(half.get()));
  EXPECT_TRUE(thread->pause(seconds(5)).value());
}

// A WRITE, some of whose payload has come, is received to its end, and not a byte further.
TEST_F(IoThreadPauseTest, AMessageThatHasBegunIsServedToItsEnd) {
  const auto thread = start();
  ServedSegment& segment = make_segment();
  const auto socket = connect(*thread, segment);
  std::vector<std::byte> stream;
  const auto append = [&](const void* data, std::size_t bytes) {
    const auto* first = static_cast<const std::byte*>(data);
    stream.insert(stream.end(), first, first + bytes);
  };
  for (std::uint64_t page : {1, 2}) {
    append(
        load::encode({.command = Command::write, .offset = page * kPageBytes, .length = kPageBytes})
            .data(),
        28);
    Page content;
    load::fill(content, page, 1);
    append(content.data(), sizeof content);
  }
  for (const std::size_t first_part : {14, 28, 28 + 1000}) {
    const auto served = thread->requests_served();
    ASSERT_TRUE(write_page(socket, 3, 1));
    ASSERT_GT(send(socket.get(), stream.data(), first_part, 0), 0);
    wait_until_received(socket);
    auto paused = std::async(std::launch::async, [&] { return thread->pause(seconds(10)); });
    EXPECT_EQ(paused.wait_for(milliseconds(50)), std::future_status::timeout);
    ASSERT_GT(send(socket.get(), stream.data() + first_part, stream.size() - first_part, 0), 0);
    ASSERT_TRUE(paused.get().value());
    EXPECT_TRUE(load::receive_reply(socket.get()));
    EXPECT_FALSE(is_readable_within(socket, milliseconds(50)));
    EXPECT_EQ(thread->requests_served(), served + 2);
    ASSERT_TRUE(thread->resume());
    EXPECT_TRUE(load::receive_reply(socket.get()));
    EXPECT_EQ(read_page(socket, 1, 1), 0U);
    EXPECT_EQ(read_page(socket, 2, 1), 0U);
  }
}

TEST_F(IoThreadPauseTest, AReadThatWaitsForMemoryCallsThePauseOff) {
  const auto thread = start();
  ServedSegment& segment = make_segment();
  const auto socket = connect(*thread, segment);
  ASSERT_TRUE(write_page(socket, 0, 5));
  constexpr int kReads = 100;
  for (int i = 0; i < kReads; ++i) {
    ASSERT_TRUE(send_read(socket, 0, 1));
    wait_until_received(socket);  // so that each takes a chunk of its own
  }
  EXPECT_FALSE(thread->pause(milliseconds(50)).value());
  for (int i = 0; i < kReads; ++i) ASSERT_EQ(receive_read(socket, 1, 5), 0U) << i;
  EXPECT_TRUE(thread->pause(seconds(5)).value());
}

TEST_F(IoThreadPauseTest, AConnectionThatHangsUpMeanwhileIsReportedAfterwards) {
  const auto thread = start();
  ServedSegment& segment = make_segment();
  auto socket = connect(*thread, segment);
  const auto other = connect(*thread, segment);
  ASSERT_TRUE(thread->pause(seconds(5)).value());
  socket.reset();
  EXPECT_FALSE(is_readable_within(report_read_, milliseconds(50)));
  ASSERT_TRUE(thread->resume());
  EXPECT_EQ(next_report().end, ConnectionEnd::hung_up);
  EXPECT_TRUE(write_page(other, 1, 1));
}

TEST_F(IoThreadPauseTest, ConnectionsThatComeOrGoMeanwhile) {
  const auto thread = start();
  ServedSegment& dropped = make_segment();
  ServedSegment& segment = make_segment();
  const auto goes = connect(*thread, dropped);
  ASSERT_TRUE(thread->pause(seconds(5)).value());
  const auto comes = connect(*thread, segment);
  ASSERT_TRUE(thread->drop(dropped));
  EXPECT_EQ(next_report().end, ConnectionEnd::dropped);
  ASSERT_TRUE(send_write(comes, 1, 1));
  EXPECT_FALSE(is_readable_within(comes, milliseconds(50)));
  ASSERT_TRUE(thread->resume());
  EXPECT_TRUE(load::receive_reply(comes.get()));
}

TEST_F(IoThreadPauseTest, AStoreThatHangsDelaysNoOther) {
  const auto thread = start();
  const auto socket = connect(*thread, make_segment());
  EXPECT_FALSE(thread->copy_started_at());
  device_.holds_next_write = true;
  const auto before = std::chrono::steady_clock::now();
  ASSERT_TRUE(send_write(socket, 1, 1));
  device_.arrived.acquire();
  const auto since = thread->copy_started_at();
  ASSERT_TRUE(since);
  EXPECT_GE(*since, before);
  EXPECT_LE(*since, std::chrono::steady_clock::now());

  EXPECT_FALSE(thread->pause(milliseconds(20)).value());
  EXPECT_LT(std::chrono::steady_clock::now() - before, seconds(5));
  EXPECT_EQ(thread->copy_started_at(), since);
  EXPECT_EQ(thread->requests_served(), 0U);
  device_.gate.release();
  // The pause that was called off, and may have been reached late, does not count as this one.
  ASSERT_TRUE(thread->pause(seconds(5)).value());
  EXPECT_FALSE(thread->copy_started_at());
  EXPECT_EQ(thread->requests_served(), 1U);
  ASSERT_TRUE(thread->resume());
  EXPECT_TRUE(load::receive_reply(socket.get()));
  EXPECT_EQ(read_page(socket, 1, 1), 0U);
}

}  // namespace
}  // namespace vramswap
