// The data of a READ after WRITEs, TRIMs and WRITE_ZEROES.
#include <cerrno>
#include <cstring>

#include "tests/support/mebibyte.hpp"
#include "tests/unit/worker/batch_fixture.hpp"

namespace vramswap {
namespace {

TEST_F(BatchTest, WritesAndReadsBack) {
  feed_all(Stream().write(10, 3, 1).bytes);
  EXPECT_EQ(replies().at(0).error, 0U);
  EXPECT_EQ(pages().count(PageState::valid), 3U);
  EXPECT_EQ(pages().run_length(10, 10), 3U);
  for (std::uint64_t page = 10; page < 13; ++page) {
    EXPECT_EQ(wrong_words(read_page(page).data, page, 1), 0U);
  }
}

TEST_F(BatchTest, EmptyPagesReadAsZerosWhateverTheStoreHolds) {
  std::memset(reinterpret_cast<void*>(segment_.store->address()), 0x77, kPages * kPageBytes);
  EXPECT_EQ(wrong_words(read_page(5).data, 5, 0), 0U);
}

TEST_F(BatchTest, AReadOverEmptyAndValidRuns) {
  std::memset(reinterpret_cast<void*>(segment_.store->address()), 0x77, kPages * kPageBytes);
  feed_all(Stream().write(1, 2, 1).write(5, 1, 2).write(100, 30, 3).bytes);
  replies();
  feed_all(Stream().add(Command::read, 0, 256).bytes);
  const auto reply = replies([](std::uint64_t) { return kMiB; }).at(0);
  ASSERT_EQ(reply.error, 0U);
  for (std::uint64_t page = 0; page < 256; ++page) {
    const std::uint32_t version = page == 1 || page == 2        ? 1
                                  : page == 5                   ? 2
                                  : (page >= 100 && page < 130) ? 3
                                                                : 0;
    EXPECT_EQ(wrong_words(std::span(reply.data).subspan(page * kPageBytes), page, version), 0U)
        << page;
  }
}

TEST_F(BatchTest, ALostPageFailsItsReadUntilItIsWritten) {
  feed_all(Stream().write(0, 4, 1).bytes);
  replies();
  pages().set(2, 1, PageState::lost);
  feed_all(Stream().add(Command::read, 0, 4).add(Command::read, 0, 2).bytes);
  auto all = replies([](std::uint64_t) { return 2 * kPageBytes; });
  EXPECT_EQ(all.at(0).error, static_cast<std::uint32_t>(EIO));
  EXPECT_EQ(wrong_words(all.at(1).data, 0, 1), 0U);

  feed_all(Stream().write(2, 1, 2).bytes);
  replies();
  EXPECT_EQ(wrong_words(read_page(2).data, 2, 2), 0U);
}

TEST_F(BatchTest, TrimAndWriteZeroesForget) {
  for (const auto command : {Command::trim, Command::write_zeroes}) {
    feed_all(Stream().write(8, 4, 1).bytes);
    pages().set(11, 1, PageState::lost);
    replies();
    feed_all(Stream().add(command, 9, 3).bytes);
    EXPECT_EQ(replies().at(0).error, 0U);
    EXPECT_EQ(wrong_words(read_page(8).data, 8, 1), 0U);
    EXPECT_EQ(wrong_words(read_page(9).data, 9, 0), 0U);
    EXPECT_EQ(wrong_words(read_page(11).data, 11, 0), 0U);
  }
}

// The page map changes in the order of the wire.
TEST_F(BatchTest, WritesAndTrimsOfOnePageInOneBatch) {
  for (const auto command : {Command::trim, Command::write_zeroes}) {
    batches_ = 0;
    feed_all(Stream()
                 .write(1, 2, 1)
                 .add(command, 1, 1)  // stays empty
                 .add(command, 3, 1)
                 .write(3, 1, 2)
                 .write(4, 1, 1)
                 .add(command, 4, 1)
                 .write(4, 1, 3)
                 .write(5, 1, 1)
                 .write(5, 1, 4)
                 .bytes);
    EXPECT_EQ(batches_, 4);  // a WRITE begins another where its page has changed in this one
    EXPECT_EQ(replies().size(), 9U);
    EXPECT_EQ(pages().count(PageState::valid), 4U);
    EXPECT_EQ(wrong_words(read_page(1).data, 1, 0), 0U);
    EXPECT_EQ(wrong_words(read_page(2).data, 2, 1), 0U);
    EXPECT_EQ(wrong_words(read_page(3).data, 3, 2), 0U);
    EXPECT_EQ(wrong_words(read_page(4).data, 4, 3), 0U);
    EXPECT_EQ(wrong_words(read_page(5).data, 5, 4), 0U);
  }
}

TEST_F(BatchTest, AReadBehindATrimSeesIt) {
  feed_all(Stream().write(8, 2, 1).bytes);
  replies();
  pages().set(9, 1, PageState::lost);
  feed_all(
      Stream().add(Command::read, 8, 1).add(Command::trim, 8, 2).add(Command::read, 8, 2).bytes);
  const auto all = replies(
      [](std::uint64_t cookie) { return cookie == 1 ? 0 : (cookie == 0 ? 1 : 2) * kPageBytes; });
  EXPECT_EQ(wrong_words(all.at(0).data, 8, 1), 0U);
  EXPECT_EQ(all.at(2).error, 0U);
  EXPECT_EQ(wrong_words(all.at(2).data, 8, 0), 0U);
}

TEST_F(BatchTest, FlushAndFuaAreAnsweredWhenTheWriteIsStored) {
  Stream stream;
  stream.write(3, 1, 1);
  stream.bytes[5] = std::byte{1};  // FUA on it
  feed_all(stream.add(Command::flush, 0, 0).bytes);
  const auto all = replies();
  EXPECT_EQ(all.at(0).error, 0U);
  EXPECT_EQ(all.at(1).error, 0U);
  EXPECT_EQ(wrong_words(read_page(3).data, 3, 1), 0U);
}

}  // namespace
}  // namespace vramswap
