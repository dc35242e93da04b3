// How the stream of requests comes: in pieces, refused, broken, and longer than a batch.
#include <algorithm>
#include <cerrno>
#include <cstring>

#include "tests/unit/worker/batch_fixture.hpp"

namespace vramswap {
namespace {

using BatchStreamTest = BatchTest;

TEST_F(BatchStreamTest, ARefusedWriteIsDrainedAnsweredAndChangesNothing) {
  feed_all(Stream().write(kPages - 1, 1, 1).bytes);
  replies();
  Stream stream;
  stream.write(kPages - 1, 2, 2);  // past the end
  stream.add({.command = Command::write, .cookie = 1, .offset = 0, .length = 100});
  stream.bytes.resize(stream.bytes.size() + 100);  // misaligned
  stream.write(0, 300, 3);                         // too long
  stream.write(7, 1, 4);                           // good
  for (const std::size_t step : {stream.bytes.size(), std::size_t{1000}}) {
    for (std::size_t at = 0; at < stream.bytes.size(); at += step) {
      feed(std::span(stream.bytes).subspan(at, std::min(step, stream.bytes.size() - at)));
    }
    const auto all = replies();
    EXPECT_EQ(all.at(0).error, static_cast<std::uint32_t>(ENOSPC));
    EXPECT_EQ(all.at(1).error, static_cast<std::uint32_t>(EINVAL));
    EXPECT_EQ(all.at(2).error, static_cast<std::uint32_t>(EINVAL));
    EXPECT_EQ(all.at(3).error, 0U);
    EXPECT_EQ(wrong_words(read_page(kPages - 1).data, kPages - 1, 1), 0U);
    EXPECT_EQ(wrong_words(read_page(7).data, 7, 4), 0U);
    EXPECT_EQ(pages().count(PageState::valid), 2U);
  }
}

TEST_F(BatchStreamTest, ABrokenRequestStopsTheStreamAfterTheEarlierOnes) {
  Stream bad_magic;
  bad_magic.write(0, 1, 1).add({.command = Command::read, .length = 4096, .magic = 0x12345678});
  EXPECT_EQ(feed(bad_magic.bytes), Batch::Stop::broken);
  EXPECT_EQ(replies().at(0).error, 0U);
  EXPECT_EQ(wrong_words(read_page(0).data, 0, 1), 0U);

  Stream endless;
  endless.add({.command = Command::write, .length = (64U << 20) + 4096});
  EXPECT_EQ(feed(endless.bytes), Batch::Stop::broken);
  EXPECT_EQ(feed(Stream().add(Command::disconnect, 0, 0).bytes), Batch::Stop::disconnect);
}

// The same stream, however it is cut, has the same replies and leaves the same bytes.
TEST_F(BatchStreamTest, WhereTheBytesAreSplitDoesNotMatter) {
  pages().set(40, 1, PageState::lost);
  Stream stream;
  stream.write(0, 2, 1)
      .add(Command::read, 20, 1)
      .write(kPages - 1, 2, 2)
      .add(Command::flush, 0, 0)
      .add(Command::read, 40, 2)
      .write(10, 1, 3)
      .add(Command::trim, 30, 1);
  const auto length = [](std::uint64_t cookie) { return cookie == 1 ? kPageBytes : 0; };
  feed_all(stream.bytes);
  ASSERT_EQ(sent_.size(), 7 * 16 + kPageBytes);
  const auto expected = replies(length);

  const auto verify = [&](std::size_t split) {
    EXPECT_TRUE(replies(length) == expected) << split;
    EXPECT_EQ(pages().count(PageState::valid), 3U) << split;
    EXPECT_EQ(wrong_words(read_page(1).data, 1, 1), 0U) << split;
    EXPECT_EQ(wrong_words(read_page(10).data, 10, 3), 0U) << split;
    std::memset(reinterpret_cast<void*>(segment_.store->address()), 0x77, 64 * kPageBytes);
    pages().set(0, 30, PageState::empty);
  };
  const std::span all(stream.bytes);
  for (std::size_t split = 0; split <= all.size(); ++split) {
    feed(all.first(split));
    feed_all(all.subspan(split));
    verify(split);
  }
  for (const std::size_t step : {1, 27, 28, 29, 4095, 4096, 4097}) {
    for (std::size_t at = 0; at < all.size(); at += step) {
      feed(all.subspan(at, std::min(step, all.size() - at)));
      release_lent();
    }
    verify(step);
  }
}

TEST_F(BatchStreamTest, AWriteThatArrivesInPiecesIsStoredAsItArrives) {
  const Stream stream = Stream().write(0, 4, 1);
  EXPECT_EQ(feed(std::span(stream.bytes).first(28 + 2 * kPageBytes + 100)),
            Batch::Stop::need_bytes);
  EXPECT_TRUE(sent_.empty());
  EXPECT_EQ(pages().count(PageState::valid), 2U);
  EXPECT_EQ(connection_.carry_bytes, 100U);
  feed_all(std::span(stream.bytes).subspan(28 + 2 * kPageBytes + 100));
  EXPECT_EQ(replies().at(0).error, 0U);
  EXPECT_EQ(wrong_words(read_page(2).data, 2, 1), 0U);
}

TEST_F(BatchStreamTest, IsFullAtThePromisedNumberOfReplies) {
  Stream stream;
  for (std::size_t i = 0; i < 2 * Batch::kMaxReplies + 1; ++i) {
    if (i % 3 == 0) stream.write(i, 1, 1);
    if (i % 3 == 1) stream.add(Command::read, i, 1);
    if (i % 3 == 2) stream.add(Command::flush, 0, 0);
  }
  // Collected twice: the second time with a batch that is full to the brim already.
  auto collected = batch_.collect(connection_, stream.bytes, nullptr);
  EXPECT_EQ(collected.stop, Batch::Stop::batch_full);
  EXPECT_EQ(batch_.reply_count(), Batch::kMaxReplies);
  EXPECT_EQ(batch_.collect(connection_, {}, nullptr).stop, Batch::Stop::batch_full);
  finish();
  feed_all(std::span(stream.bytes).subspan(collected.bytes));
  EXPECT_EQ(pages().count(PageState::valid), (2 * Batch::kMaxReplies + 1) / 3);
}

}  // namespace
}  // namespace vramswap
