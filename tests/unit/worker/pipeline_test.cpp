// When replies are sent, and in what order, seen from the other end of the socket.
#include <cstring>

#include "tests/unit/worker/io_thread_fixture.hpp"

namespace vramswap {
namespace {

using load::Command;
using load::Page;

class PipelineTest : public IoThreadTest {
 protected:
  // Without waiting for the answer.
  static bool send_writes(const UniqueFd& socket, std::uint64_t first, std::uint32_t pages,
                          std::uint32_t version) {
    if (!load::send_header(socket.get(), {.command = Command::write,
                                          .cookie = first,
                                          .offset = first * kPageBytes,
                                          .length = pages * std::uint32_t{kPageBytes}})) {
      return false;
    }
    for (std::uint64_t page = first; page < first + pages; ++page) {
      Page content;
      load::fill(content, page, version);
      if (!load::send_page(socket.get(), content, true)) return false;
    }
    return true;
  }

  std::unique_ptr<IoThread> thread_ = start();
  ServedSegment& segment_ = make_segment();
  UniqueFd socket_ = connect(*thread_, segment_);
};

TEST_F(PipelineTest, ALoneReadsHeaderGoesAheadOfItsData) {
  for (const std::uint32_t pages : {1U, 8U}) {
    ASSERT_TRUE(send_writes(socket_, 7, pages, 1));
    ASSERT_TRUE(load::receive_reply(socket_.get()));
    device_.holds_next_read = true;
    ASSERT_TRUE(send_read(socket_, 7, pages));
    device_.arrived.acquire();
    const auto header = load::receive_reply(socket_.get());
    ASSERT_TRUE(header);
    EXPECT_EQ(header->error, 0U);
    std::byte early;
    EXPECT_EQ(recv(socket_.get(), &early, 1, MSG_DONTWAIT), -1);
    device_.gate.release();
    for (std::uint32_t i = 0; i < pages; ++i) {
      Page content;
      ASSERT_TRUE(load::receive_page(socket_.get(), content));
      EXPECT_EQ(load::count_wrong_words(content, 7 + i, 1), 0U);
    }
  }
}

// Then the kernel sends the READ again over another connection.
TEST_F(PipelineTest, ALoneReadOfWrongBytesEndsItsConnectionAndFailsWhenItComesAgain) {
  ASSERT_TRUE(send_writes(socket_, 7, 3, 1));
  ASSERT_TRUE(load::receive_reply(socket_.get()));
  reinterpret_cast<std::byte*>(segment_.store->address())[8 * kPageBytes] ^= std::byte{1};
  ASSERT_TRUE(send_read(socket_, 8, 1));
  const auto header = load::receive_reply(socket_.get());
  ASSERT_TRUE(header);
  EXPECT_EQ(header->error, 0U);
  std::byte data;
  EXPECT_EQ(recv(socket_.get(), &data, 1, 0), 0) << "a byte of data";
  EXPECT_EQ(next_report().kind, IoReport::Kind::lost_pages_changed);
  const auto ended = next_report();
  EXPECT_EQ(ended.kind, IoReport::Kind::connection_ended);
  EXPECT_EQ(ended.end, ConnectionEnd::broken);

  const UniqueFd next = connect(*thread_, segment_);
  ASSERT_TRUE(send_read(next, 8, 1));
  const auto reply = load::receive_reply(next.get());
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->error, static_cast<std::uint32_t>(EIO));
  EXPECT_EQ(read_page(next, 7, 1), 0U);
  EXPECT_EQ(read_page(next, 9, 1), 0U);
  EXPECT_TRUE(write_page(next, 8, 2));
  EXPECT_EQ(read_page(next, 8, 2), 0U);
  EXPECT_EQ(next_report().kind, IoReport::Kind::lost_pages_changed);
  EXPECT_EQ(thread_->stats().errors, 1U);

  // From now on no header goes ahead of its data, so the next one costs no connection.
  reinterpret_cast<std::byte*>(segment_.store->address())[9 * kPageBytes] ^= std::byte{1};
  EXPECT_EQ(read_page(next, 9, 1), ~std::size_t{0});
  EXPECT_EQ(read_page(next, 8, 2), 0U);
  EXPECT_EQ(segment_.pages->corrupt_count(), 2U);
}

// The peer would take the replies behind it for its data.
TEST_F(PipelineTest, BehindAReadThatIsCutOffNothingIsSent) {
  ASSERT_TRUE(send_writes(socket_, 7, 16, 1));
  ASSERT_TRUE(load::receive_reply(socket_.get()));
  reinterpret_cast<std::byte*>(segment_.store->address())[8 * kPageBytes] ^= std::byte{1};
  // Both are there before the first one is answered.
  device_.holds_next_read = true;
  ASSERT_TRUE(send_read(socket_, 7, 8));
  device_.arrived.acquire();
  ASSERT_TRUE(send_read(socket_, 15, 8));
  device_.gate.release();
  const auto header = load::receive_reply(socket_.get());
  ASSERT_TRUE(header);
  if (header->error == 0) {
    std::byte data;
    // The end of the connection, or an error where the second READ was not taken from it.
    EXPECT_LE(recv(socket_.get(), &data, 1, 0), 0) << "a byte of data";
  }
}

// A WRITE that a dead worker began, and that the kernel gave up.
TEST_F(PipelineTest, ALoneReadOfAPageThatWasNeverWrittenWholeFails) {
  ASSERT_TRUE(write_page(socket_, 7, 1));
  segment_.pages->set(7, 1, PageState::changing);
  reinterpret_cast<std::byte*>(segment_.store->address())[7 * kPageBytes] ^= std::byte{1};
  EXPECT_EQ(read_page(socket_, 7, 1), ~std::size_t{0});
  EXPECT_TRUE(write_page(socket_, 7, 2));
  EXPECT_EQ(read_page(socket_, 7, 2), 0U);
}

// The kernel does not send a READ while a WRITE of the page is unanswered; a client that does sees
// the written bytes.
TEST_F(PipelineTest, AReadSeesTheWriteThatWasSentBeforeIt) {
  device_.longest_delay = std::chrono::microseconds(50);
  for (std::uint32_t round = 1; round <= 300; ++round) {
    const std::uint32_t pages = 1 + round % 40;
    const std::uint64_t first = round % 100;
    ASSERT_TRUE(send_writes(socket_, first, pages, round));
    ASSERT_TRUE(send_read(socket_, first, pages));
    ASSERT_TRUE(load::receive_reply(socket_.get()));
    ASSERT_EQ(receive_read(socket_, pages, round), 0U) << round;
  }
}

TEST_F(PipelineTest, TheLaterOfTwoWritesOfAPageStays) {
  device_.longest_delay = std::chrono::microseconds(50);
  for (std::uint32_t round = 1; round <= 300; ++round) {
    const std::uint32_t pages = 1 + round % 20;
    ASSERT_TRUE(send_writes(socket_, 0, pages, 2 * round));
    ASSERT_TRUE(send_writes(socket_, pages / 2, pages, 2 * round + 1));
    ASSERT_TRUE(load::receive_reply(socket_.get()));
    ASSERT_TRUE(load::receive_reply(socket_.get()));
    ASSERT_EQ(read_page(socket_, pages - 1, 2 * round + 1), 0U) << round;
  }
}

TEST_F(PipelineTest, ZerosTakeNoPlaceInTheStore) {
  ASSERT_TRUE(send_writes(socket_, 3, 4, 1));
  ASSERT_TRUE(load::receive_reply(socket_.get()));
  // Version 0 is zeros.
  ASSERT_TRUE(send_writes(socket_, 4, 2, 0));
  ASSERT_TRUE(load::receive_reply(socket_.get()));
  EXPECT_EQ(segment_.pages->at(3), PageState::valid);
  EXPECT_EQ(segment_.pages->at(4), PageState::empty);
  EXPECT_EQ(segment_.pages->at(5), PageState::empty);
  EXPECT_EQ(segment_.pages->at(6), PageState::valid);
  Page stored;
  std::memcpy(stored.data(),
              reinterpret_cast<const void*>(segment_.store->address() + 4 * kPageBytes),
              sizeof stored);
  EXPECT_EQ(load::count_wrong_words(stored, 4, 1), 0U);
  EXPECT_EQ(read_page(socket_, 4, 0), 0U);
  EXPECT_EQ(read_page(socket_, 6, 1), 0U);
}

// All zeros but one bit, wherever it is.
TEST_F(PipelineTest, NearlyZeroIsNotZero) {
  for (const std::size_t byte :
       {std::size_t{0}, std::size_t{1}, sizeof(Page) / 2, sizeof(Page) - 1}) {
    Page content{};
    reinterpret_cast<unsigned char*>(content.data())[byte] = 1;
    ASSERT_TRUE(load::send_header(socket_.get(),
                                  {.command = Command::write, .offset = 0, .length = kPageBytes}));
    ASSERT_TRUE(load::send_page(socket_.get(), content, false));
    ASSERT_TRUE(load::receive_reply(socket_.get()));
    ASSERT_TRUE(send_read(socket_, 0, 1));
    ASSERT_TRUE(load::receive_reply(socket_.get()));
    Page read;
    ASSERT_TRUE(load::receive_page(socket_.get(), read));
    EXPECT_EQ(read, content) << byte;
  }
}

}  // namespace
}  // namespace vramswap
