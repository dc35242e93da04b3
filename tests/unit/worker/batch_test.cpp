#include "daemon/worker/io/batch.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <map>

#include "daemon/base/page_size.hpp"
#include "daemon/worker/store/ram_store.hpp"
#include "tests/support/kernel_peer.hpp"
#include "tests/support/mebibyte.hpp"

namespace vramswap {
namespace {

using load::Command;
using load::Page;
using Bytes = std::vector<std::byte>;

constexpr std::uint64_t kPages = 1024;
void append(Bytes& to, const void* data, std::size_t bytes) {
  const auto* first = static_cast<const std::byte*>(data);
  to.insert(to.end(), first, first + bytes);
}

// Requests as they come over the wire. The cookie of each is its number, from 0.
class Stream {
 public:
  Stream& add(Command command, std::uint64_t page, std::uint64_t pages, std::uint16_t flags = 0) {
    return add({.command = command,
                .cookie = count_,
                .offset = page * kPageBytes,
                .length = static_cast<std::uint32_t>(pages * kPageBytes),
                .flags = flags});
  }
  Stream& add(const load::RequestHeader& header) {
    const auto wire = load::encode(header);
    append(bytes, wire.data(), wire.size());
    ++count_;
    return *this;
  }
  Stream& write(std::uint64_t page, std::uint64_t pages, std::uint32_t version) {
    add(Command::write, page, pages);
    for (std::uint64_t i = 0; i < pages; ++i) {
      Page content;
      load::fill(content, page + i, version);
      append(bytes, content.data(), sizeof content);
    }
    return *this;
  }

  Bytes bytes;

 private:
  std::uint64_t count_ = 0;
};

struct Reply {
  std::uint32_t error;
  Bytes data;
  bool operator==(const Reply&) const = default;
};

// An I/O thread without thread and socket.
class BatchTest : public testing::Test {
 protected:
  BatchTest() {
    segment_.store = device_->create(kPages * kPageBytes).value();
    const auto fd = PageMap::create(kPages).value();
    segment_.set_pages(PageMap::map(fd.get(), kPages).value());
    segment_.fence.emplace(kPages);
    copier_ = device_->make_copier(staging_.memory()).value();
  }

  PageMap& pages() { return *segment_.pages; }

  // Returns why the last batch stopped.
  Batch::Stop feed(std::span<const std::byte> received) {
    Bytes bytes(connection_.carry.begin(),
                connection_.carry.begin() + static_cast<std::ptrdiff_t>(connection_.carry_bytes));
    append(bytes, received.data(), received.size());
    std::span<std::byte> rest = bytes;
    for (;;) {
      const auto collected = batch_.collect(connection_, rest, nullptr);
      finish();
      ++batches_;
      rest = rest.subspan(collected.bytes);
      if (collected.stop == Batch::Stop::need_bytes) {
        EXPECT_LE(rest.size(), connection_.carry.size());
        std::ranges::copy(rest, connection_.carry.begin());
        connection_.carry_bytes = rest.size();
      }
      if (collected.stop != Batch::Stop::batch_full) return collected.stop;
    }
  }

  // Runs what was collected and notes what is sent.
  void finish() {
    EXPECT_EQ(batch_.start(*copier_).value(), Batch::Outcome::started);
    for (;;) {
      const auto iovs = batch_.next_read_replies(connection_, *copier_).value();
      if (iovs.empty()) break;
      send(iovs);
    }
    EXPECT_TRUE(batch_.finish_changes(*copier_));
    send(batch_.non_read_replies(connection_));
    batch_.clear();
  }
  void send(std::span<const iovec> iovs) {
    for (const iovec& iov : iovs) append(sent_, iov.iov_base, iov.iov_len);
  }

  // As if the other side had read everything.
  void release_lent() {
    for (const auto& lent : connection_.lent) staging_.release(lent.chunk);
    connection_.lent.clear();
  }

  void feed_all(std::span<const std::byte> bytes) {
    EXPECT_EQ(feed(bytes), Batch::Stop::need_bytes);
    release_lent();
    while (!connection_.waiting_reads.empty()) {
      feed({});
      release_lent();
    }
  }

  // What was sent, by cookie; `lengths` tells how much data follows a good reply.
  std::map<std::uint64_t, Reply> replies(const std::function<std::size_t(std::uint64_t)>& length) {
    std::map<std::uint64_t, Reply> all;
    std::span<const std::byte> rest = sent_;
    while (!rest.empty()) {
      const auto [peer, server] = load::make_connection();
      EXPECT_GE(rest.size(), 16U);
      EXPECT_EQ(write(server.get(), rest.data(), 16), 16);
      const auto header = load::receive_reply(peer.get());
      EXPECT_TRUE(header);
      rest = rest.subspan(16);
      const auto bytes = header->error == 0 ? length(header->cookie) : 0;
      EXPECT_LE(bytes, rest.size());
      all[header->cookie] = {header->error, Bytes(rest.begin(), rest.begin() + bytes)};
      rest = rest.subspan(bytes);
    }
    sent_.clear();
    return all;
  }
  // Of a stream without good READs.
  std::map<std::uint64_t, Reply> replies() {
    return replies([](std::uint64_t) { return 0; });
  }

  static std::size_t wrong_words(std::span<const std::byte> data, std::uint64_t page,
                                 std::uint32_t version) {
    Page content;
    std::memcpy(content.data(), data.data(), sizeof content);
    return load::count_wrong_words(content, page, version);
  }

  // Reads one page by a batch of its own.
  Reply read_page(std::uint64_t page) {
    feed_all(Stream().add(Command::read, page, 1).bytes);
    return replies([](std::uint64_t) { return kPageBytes; }).at(0);
  }

  std::unique_ptr<StoreDevice> device_ = make_ram_device();
  ServedSegment segment_;
  std::pair<UniqueFd, UniqueFd> ends_ = load::make_connection();
  Connection connection_{std::move(ends_.second), segment_};
  Staging staging_ = Staging::create().value();
  Batch batch_{staging_, Claimant::create().value(), 0};
  std::unique_ptr<Copier> copier_;
  Bytes sent_;
  int batches_ = 0;
};

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

TEST_F(BatchTest, ARefusedWriteIsDrainedAnsweredAndChangesNothing) {
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

TEST_F(BatchTest, WhatCannotBeTrustedStopsTheStreamAfterWhatCameBefore) {
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
TEST_F(BatchTest, WhereTheBytesAreSplitDoesNotMatter) {
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

TEST_F(BatchTest, AWriteThatArrivesInPiecesIsStoredAsItArrives) {
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

TEST_F(BatchTest, IsFullAtThePromisedNumberOfReplies) {
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

TEST_F(BatchTest, ReadsWaitForStagingAndNothingElseDoes) {
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

TEST_F(BatchTest, TheRestOfAWriteWaitsForAReadThatHasWaited) {
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

TEST_F(BatchTest, MoreWaitingReadsThanAnyKernelSendsEndTheConnection) {
  Stream stream;
  for (std::size_t i = 0; i < Connection::kMaxWaitingReads + 3; ++i) {
    stream.add(Command::read, 0, 256);
  }
  EXPECT_EQ(feed(stream.bytes), Batch::Stop::broken);
  EXPECT_EQ(connection_.waiting_reads.size(), Connection::kMaxWaitingReads);
}

TEST_F(BatchTest, SmallReadsShareAChunk) {
  Stream stream;
  for (int i = 0; i < 16; ++i) stream.add(Command::read, 2 * i, 1);
  EXPECT_EQ(feed(stream.bytes), Batch::Stop::need_bytes);
  EXPECT_EQ(connection_.lent.size(), 1U);
}

}  // namespace
}  // namespace vramswap
