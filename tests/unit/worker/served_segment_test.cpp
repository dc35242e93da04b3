// Which lent chunks come back, and when.
#include "daemon/worker/io/served_segment.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "daemon/worker/io/reply_sender.hpp"
#include "tests/support/kernel_peer.hpp"

namespace vramswap {
namespace {

class Reclaim : public testing::Test {
 protected:
  // Sends a chunk of data as a reply does.
  void lend() {
    const auto chunk = staging_.allocate();
    const auto data = staging_.data(chunk);
    iovec iov{data.data(), data.size()};
    ASSERT_TRUE(sender_.lend(connection_.socket.get(), {&iov, 1}));
    connection_.sent_bytes += data.size();
    connection_.lent.push_back({chunk, connection_.sent_bytes});
  }
  void read_chunk() {
    load::Page page;
    for (std::size_t i = 0; i < Staging::kDataBytes / sizeof page; ++i) {
      ASSERT_TRUE(load::receive_page(ends_.first.get(), page));
    }
  }

  Staging staging_ = Staging::create().value();
  ReplySender sender_ = ReplySender::create().value();
  std::pair<UniqueFd, UniqueFd> ends_ = load::make_connection();
  ServedSegment segment_;
  Connection connection_{std::move(ends_.second), segment_};
};

TEST_F(Reclaim, NothingThatIsUnread) {
  for (int i = 0; i < 3; ++i) lend();
  release_read_chunks(connection_, staging_);
  EXPECT_EQ(connection_.lent.size(), 3U);
  EXPECT_EQ(staging_.free_chunks(), Staging::kChunkCount - 3);
}

TEST_F(Reclaim, NothingThatIsReadInPart) {
  lend();
  load::Page page;
  ASSERT_TRUE(load::receive_page(ends_.first.get(), page));
  release_read_chunks(connection_, staging_);
  EXPECT_EQ(connection_.lent.size(), 1U);
}

TEST_F(Reclaim, EverythingOnceAllIsRead) {
  for (int i = 0; i < 3; ++i) lend();
  for (int i = 0; i < 3; ++i) read_chunk();
  release_read_chunks(connection_, staging_);
  EXPECT_TRUE(connection_.lent.empty());
  EXPECT_EQ(staging_.free_chunks(), Staging::kChunkCount);
}

// The kernel counts a message as a little more than its bytes, so one chunk may stay for longer.
TEST_F(Reclaim, ReadChunksWhileMoreAreUnderWay) {
  std::vector<Staging::Chunk> order;
  for (int i = 0; i < 8; ++i) {
    lend();
    order.push_back(connection_.lent.back().chunk);
  }
  for (int i = 0; i < 4; ++i) read_chunk();
  release_read_chunks(connection_, staging_);
  EXPECT_GE(connection_.lent.size(), 4U);
  EXPECT_LE(connection_.lent.size(), 6U);
  // Those that were lent last.
  EXPECT_EQ(connection_.lent.back().chunk, order.back());
  EXPECT_EQ(connection_.lent.front().chunk, order[order.size() - connection_.lent.size()]);
}

// A socket that another process has sent through: unread bytes may be that process's.
TEST_F(Reclaim, NothingWhileOlderBytesAreUnread) {
  lend();
  connection_.sent_bytes = 0;
  connection_.lent.clear();
  lend();
  release_read_chunks(connection_, staging_);
  EXPECT_EQ(connection_.lent.size(), 1U);
  read_chunk();
  release_read_chunks(connection_, staging_);
  EXPECT_EQ(connection_.lent.size(), 1U);
  read_chunk();
  release_read_chunks(connection_, staging_);
  EXPECT_TRUE(connection_.lent.empty());
}

}  // namespace
}  // namespace vramswap
