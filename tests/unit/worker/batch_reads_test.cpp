// READs take memory for their replies from the staging, and wait for it.
#include "tests/support/mebibyte.hpp"
#include "tests/unit/worker/batch_fixture.hpp"

namespace vramswap {
namespace {

using BatchReadsTest = BatchTest;

TEST_F(BatchReadsTest, ReadsWaitForStagingAndNothingElseDoes) {
  feed_all(Stream().write(0, 256, 1).bytes);
  replies();
  Stream stream;
  for (int i = 0; i < 5; ++i) stream.add(Command::read, 0, 256);
  stream.write(300, 1, 2).add(Command::read, 300, 1);
  EXPECT_EQ(feed(stream.bytes), Batch::Stop::need_bytes);
  // A connection's share is two of the longest READs.
  EXPECT_EQ(connection_.lent.size(), Staging::kChunksPerConnection);
  EXPECT_EQ(connection_.waiting_reads.size(), 4U);
  const auto length = [](std::uint64_t cookie) {
    return cookie < 5 ? kMiB : cookie == 6 ? kPageBytes : 0;
  };
  auto all = replies(length);
  EXPECT_EQ(all.size(), 3U);
  EXPECT_TRUE(all.contains(5));

  feed({});
  EXPECT_EQ(connection_.waiting_reads.size(), 4U);
  release_lent();
  feed({});
  EXPECT_EQ(connection_.waiting_reads.size(), 2U);
  release_lent();
  feed({});
  EXPECT_TRUE(connection_.waiting_reads.empty());
  release_lent();
  all = replies(length);
  EXPECT_EQ(all.size(), 4U);
  EXPECT_EQ(wrong_words(all.at(4).data, 0, 1), 0U);
  EXPECT_EQ(wrong_words(all.at(6).data, 300, 2), 0U);
  EXPECT_EQ(staging_.free_chunks(), Staging::kChunkCount);
}

TEST_F(BatchReadsTest, TheRestOfAWriteWaitsForAReadThatHasWaited) {
  feed_all(Stream().write(0, 256, 1).bytes);
  Stream stream;
  for (int i = 0; i < 3; ++i) stream.add(Command::read, 0, 256);
  stream.write(0, 2, 2);
  Bytes second_page(stream.bytes.end() - kPageBytes, stream.bytes.end());
  stream.bytes.resize(stream.bytes.size() - kPageBytes);
  EXPECT_EQ(feed(stream.bytes), Batch::Stop::need_bytes);
  ASSERT_EQ(connection_.waiting_reads.size(), 1U);
  release_lent();

  const auto collected = batch_.collect(connection_, second_page, nullptr);
  EXPECT_EQ(collected.stop, Batch::Stop::batch_full);
  EXPECT_EQ(collected.bytes, 0U);
  EXPECT_EQ(batch_.reply_count(), 1U);
  EXPECT_FALSE(batch_.has_changes());
  finish();
  EXPECT_EQ(feed(second_page), Batch::Stop::need_bytes);
}

TEST_F(BatchReadsTest, MoreWaitingReadsThanAnyKernelSendsEndTheConnection) {
  Stream stream;
  for (std::size_t i = 0; i < Connection::kMaxWaitingReads + 3; ++i) {
    stream.add(Command::read, 0, 256);
  }
  EXPECT_EQ(feed(stream.bytes), Batch::Stop::broken);
  EXPECT_EQ(connection_.waiting_reads.size(), Connection::kMaxWaitingReads);
}

TEST_F(BatchReadsTest, SmallReadsShareAChunk) {
  Stream stream;
  for (int i = 0; i < 16; ++i) stream.add(Command::read, 2 * i, 1);
  EXPECT_EQ(feed(stream.bytes), Batch::Stop::need_bytes);
  EXPECT_EQ(connection_.lent.size(), 1U);
}

}  // namespace
}  // namespace vramswap
