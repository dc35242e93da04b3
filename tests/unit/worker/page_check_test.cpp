// Bytes in the store that differ from those written, and the answer to a READ then.
#include "daemon/worker/io/page_check.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "daemon/system/log.hpp"
#include "daemon/worker/io/batch.hpp"
#include "daemon/worker/store/ram_store.hpp"
#include "tests/support/kernel_peer.hpp"

namespace vramswap {
namespace {

using load::Command;
using load::Page;

constexpr std::uint64_t kPages = 1024;

// A store in host memory whose copies to the host flip a bit of their first page, as often as told.
class FlippingCopier final : public Copier {
 public:
  explicit FlippingCopier(std::unique_ptr<Copier> copier) : copier_(std::move(copier)) {}

  Result<void> begin(Direction direction, unsigned slot, std::span<const Copy> batch) override {
    auto result = copier_->begin(direction, slot, batch);
    if (direction == Direction::to_host && flips > 0) {
      --flips;
      batch.front().host[0] ^= std::byte{1};
    }
    return result;
  }
  Result<void> wait(Direction direction, unsigned slot, std::size_t copies) override {
    return copier_->wait(direction, slot, copies);
  }

  unsigned flips = 0;

 private:
  std::unique_ptr<Copier> copier_;
};

// A worker's part for one connection, without thread and socket. Several may share a segment.
struct Server {
  explicit Server(StoreDevice& device, ServedSegment& segment)
      : copier(device.make_copier(staging.memory()).value()),
        ends(load::make_connection()),
        connection(std::move(ends.second), segment) {}

  struct Replies {
    std::vector<std::uint32_t> errors;  // of the READs; those of pages known to be lost are last
    std::vector<std::byte> sent;        // headers and data
    bool is_cut_off = false;

    void add(std::span<const iovec> iovs) {
      for (const iovec& iov : iovs) {
        const auto* first = static_cast<const std::byte*>(iov.iov_base);
        sent.insert(sent.end(), first, first + iov.iov_len);
      }
    }
  };
  // Collects what `bytes` hold; all of it must fit into one batch.
  void collect(std::vector<std::byte> bytes) {
    received = std::move(bytes);
    EXPECT_EQ(batch.collect(connection, received, nullptr).stop, Batch::Stop::need_bytes);
  }
  Replies finish() {
    Replies replies;
    for (;;) {
      const auto iovs = batch.next_read_replies(connection, copier).value();
      if (iovs.empty()) break;
      replies.add(iovs);
    }
    replies.is_cut_off = batch.is_cut_off();
    for (const auto& answered : batch.answered_reads()) replies.errors.push_back(answered.error);
    EXPECT_TRUE(batch.finish_changes(copier));
    replies.add(batch.non_read_replies(connection));
    for (const auto& [request, error] : batch.non_read_requests()) {
      if (request.command == NBD_CMD_READ) replies.errors.push_back(error);
    }
    batch.clear();
    for (const auto& lent : connection.lent) staging.release(lent.chunk);
    connection.lent.clear();
    EXPECT_EQ(staging.free_chunks(), Staging::kChunkCount);
    return replies;
  }
  Replies serve(std::vector<std::byte> bytes) {
    collect(std::move(bytes));
    EXPECT_EQ(batch.start(copier).value(), Batch::Outcome::started);
    return finish();
  }

  Staging staging = Staging::create().value();
  Batch batch{staging, Claimant::create().value(), 0};
  FlippingCopier copier;
  std::pair<UniqueFd, UniqueFd> ends;
  Connection connection;
  std::vector<std::byte> received;
};

class PageCheckTest : public testing::Test {
 protected:
  PageCheckTest() {
    segment_.store = device_->create(kPages * kPageBytes).value();
    begin_worker();
    EXPECT_TRUE(server_->serve(write(0, 32, 1)).errors.empty());
  }

  // A worker over the same memory; the one before has died, wherever it was.
  void begin_worker() {
    server_.reset();
    segment_.set_pages(PageMap::map(page_map_.get(), kPages).value());
    segment_.fence.emplace(kPages);
    segment_.has_urgent_news = segment_.has_news = false;
    server_ = std::make_unique<Server>(*device_, segment_);
  }

  static std::vector<std::byte> header(Command command, std::uint64_t page, std::uint64_t pages) {
    const auto wire = load::encode({.command = command,
                                    .cookie = page,
                                    .offset = page * kPageBytes,
                                    .length = static_cast<std::uint32_t>(pages * kPageBytes)});
    const auto* first = reinterpret_cast<const std::byte*>(wire.data());
    return {first, first + wire.size()};
  }
  static std::vector<std::byte> read(std::uint64_t page, std::uint64_t pages = 1) {
    return header(Command::read, page, pages);
  }
  static std::vector<std::byte> write(std::uint64_t page, std::uint64_t pages,
                                      std::uint32_t version) {
    auto bytes = header(Command::write, page, pages);
    for (std::uint64_t i = page; i < page + pages; ++i) {
      Page content;
      load::fill(content, i, version);
      const auto* first = reinterpret_cast<const std::byte*>(content.data());
      bytes.insert(bytes.end(), first, first + sizeof content);
    }
    return bytes;
  }
  static std::vector<std::byte> together(std::initializer_list<std::vector<std::byte>> parts) {
    std::vector<std::byte> all;
    for (const auto& part : parts) all.insert(all.end(), part.begin(), part.end());
    return all;
  }

  void flip_bit(std::uint64_t page, std::size_t byte = 100) {
    reinterpret_cast<std::byte*>(segment_.store->address())[page * kPageBytes + byte] ^=
        std::byte{0x10};
  }
  static std::size_t wrong_words(std::span<const std::byte> bytes, std::uint64_t page,
                                 std::uint32_t version) {
    Page content;
    std::memcpy(content.data(), bytes.data(), sizeof content);
    return load::count_wrong_words(content, page, version);
  }
  void expect_readable(std::uint64_t page, std::uint32_t version) {
    const auto replies = server_->serve(read(page));
    ASSERT_EQ(replies.errors, std::vector<std::uint32_t>{0}) << page;
    ASSERT_EQ(replies.sent.size(), 16 + kPageBytes);
    EXPECT_EQ(wrong_words(std::span(replies.sent).subspan(16), page, version), 0U) << page;
  }
  void expect_lost(std::uint64_t page) {
    const auto replies = server_->serve(read(page));
    EXPECT_EQ(replies.errors, std::vector<std::uint32_t>{EIO}) << page;
    EXPECT_EQ(replies.sent.size(), 16U);
    EXPECT_FALSE(replies.is_cut_off);
  }

  std::unique_ptr<StoreDevice> device_ = make_ram_device();
  UniqueFd page_map_ = PageMap::create(kPages).value();
  ServedSegment segment_;
  std::unique_ptr<Server> server_;
};

TEST_F(PageCheckTest, AnyFlippedBitIsAnErrorForItsPageAlone) {
  std::uint64_t page = 1;
  for (const std::size_t byte : {0U, 1U, 2048U, 4095U}) {
    flip_bit(page, byte);
    expect_readable(page - 1, 1);
    expect_readable(page + 1, 1);
    expect_lost(page);
    EXPECT_EQ(segment_.pages->at(page), PageState::lost);
    expect_lost(page);
    page += 2;
  }
  EXPECT_EQ(segment_.pages->corrupt_count(), 4U);
  EXPECT_EQ(segment_.lost_pages, 4U);
  EXPECT_TRUE(segment_.has_urgent_news);
  EXPECT_TRUE(segment_.has_news);
}

TEST_F(PageCheckTest, ALostPageIsAnEventOfTheLog) {
  static std::string entries;
  entries.clear();
  set_log_sink([](std::string_view message, const LogFields& fields) {
    std::array<char, 1024> buffer{};
    entries.append(buffer.data(), write_entry(buffer, 3, message, fields));
  });
  segment_.id = 2;
  flip_bit(7);
  expect_lost(7);
  set_log_sink(nullptr);
  EXPECT_EQ(entries.substr(0, entries.find("MESSAGE=")),
            "MESSAGE_ID=a0d981188fcd49ba938de7ae4a109163\nPRIORITY=3\n"
            "SYSLOG_IDENTIFIER=vramswapd\nVRAMSWAP_SEGMENT=2\nVRAMSWAP_PAGE=7\n"
            "VRAMSWAP_LOST_PAGES=1\n");
}

TEST_F(PageCheckTest, AReadOfManyPagesFailsForOneAndTheOthersOfItsBatchDoNot) {
  flip_bit(7);
  const auto replies = server_->serve(together({read(0, 4), read(4, 16), read(20, 2)}));
  EXPECT_EQ(replies.errors, (std::vector<std::uint32_t>{0, EIO, 0}));
  ASSERT_EQ(replies.sent.size(), 3 * 16 + 6 * kPageBytes);
  const std::span sent(replies.sent);
  EXPECT_EQ(wrong_words(sent.subspan(16), 0, 1), 0U);
  EXPECT_EQ(wrong_words(sent.subspan(3 * 16 + 4 * kPageBytes), 20, 1), 0U);
  EXPECT_EQ(segment_.pages->count(PageState::lost), 1U);
}

TEST_F(PageCheckTest, APageThatOnlyTheFirstReadGotWrongIsGood) {
  server_->copier.flips = 1;
  expect_readable(3, 1);
  server_->copier.flips = 1;
  const auto replies = server_->serve(together({read(4, 2), read(9, 1)}));
  EXPECT_EQ(replies.errors, (std::vector<std::uint32_t>{0, 0}));
  EXPECT_EQ(wrong_words(std::span(replies.sent).subspan(16), 4, 1), 0U);
  EXPECT_EQ(segment_.pages->corrupt_count(), 0U);
  server_->copier.flips = 2;
  expect_lost(3);
}

TEST_F(PageCheckTest, AWriteOrATrimBringsALostPageBack) {
  flip_bit(3);
  flip_bit(4);
  expect_lost(3);
  expect_lost(4);
  segment_.has_urgent_news = false;
  server_->serve(write(3, 1, 2));
  expect_readable(3, 2);
  EXPECT_FALSE(segment_.has_urgent_news) << "one is lost still";
  server_->serve(together({header(Command::trim, 4, 1), header(Command::trim, 4, 1)}));
  expect_readable(4, 0);
  EXPECT_TRUE(segment_.has_urgent_news);
  EXPECT_EQ(segment_.lost_pages, 0U);
}

TEST_F(PageCheckTest, ANextWorkerKnowsTheLostPages) {
  flip_bit(3);
  expect_lost(3);
  begin_worker();
  EXPECT_EQ(segment_.lost_pages, 1U);
  expect_lost(3);
  flip_bit(5);
  expect_lost(5);
}

// The header is on its way when the wrong page is found.
TEST_F(PageCheckTest, AReadWhoseHeaderWentAheadCutsTheConnectionOff) {
  flip_bit(3);
  server_->collect(read(3));
  ASSERT_EQ(server_->batch.start(server_->copier).value(), Batch::Outcome::started);
  EXPECT_EQ(server_->batch.early_header(server_->connection).size(), 1U);
  EXPECT_TRUE(server_->finish().is_cut_off);
  EXPECT_EQ(segment_.pages->at(3), PageState::lost);
  // No header goes ahead any more.
  flip_bit(4);
  server_->collect(read(4));
  ASSERT_EQ(server_->batch.start(server_->copier).value(), Batch::Outcome::started);
  EXPECT_EQ(server_->batch.early_header(server_->connection).size(), 0U);
  const auto replies = server_->finish();
  EXPECT_FALSE(replies.is_cut_off);
  EXPECT_EQ(replies.errors, std::vector<std::uint32_t>{EIO});
}

// The first pages of a long READ are sent while the last ones are being copied.
TEST_F(PageCheckTest, ALongReadWhoseBeginWasSentCutsTheConnectionOff) {
  server_->serve(write(500, 128, 3));
  server_->serve(write(628, 128, 3));
  flip_bit(755);
  EXPECT_TRUE(server_->serve(read(500, 256)).is_cut_off);
  // Now all of it is checked first.
  flip_bit(754);
  const auto replies = server_->serve(read(500, 255));
  EXPECT_FALSE(replies.is_cut_off);
  EXPECT_EQ(replies.errors, std::vector<std::uint32_t>{EIO});
  EXPECT_EQ(replies.sent.size(), 16U);
  EXPECT_EQ(server_->serve(read(500, 254)).sent.size(), 16 + 254 * kPageBytes);
}

TEST_F(PageCheckTest, AnEarlyHeaderIsKeptWhereTheSecondLookHelps) {
  server_->copier.flips = 1;
  server_->collect(read(3));
  ASSERT_EQ(server_->batch.start(server_->copier).value(), Batch::Outcome::started);
  EXPECT_EQ(server_->batch.early_header(server_->connection).size(), 1U);
  const auto replies = server_->finish();
  EXPECT_FALSE(replies.is_cut_off);
  EXPECT_EQ(wrong_words(replies.sent, 3, 1), 0U);
}

// The worker dies when the WRITE's bytes are in the store, or some of them.
TEST_F(PageCheckTest, APageWhoseWriteWasNeverFinishedIsAnErrorAndNotLost) {
  server_->collect(write(3, 2, 2));
  ASSERT_EQ(server_->batch.start(server_->copier).value(), Batch::Outcome::started);
  flip_bit(3);
  begin_worker();
  EXPECT_EQ(segment_.pages->count(3, 2, PageState::changing), 2U);
  const auto replies = server_->serve(together({read(3, 2), read(2), read(5)}));
  EXPECT_EQ(replies.errors, (std::vector<std::uint32_t>{EIO, 0, 0}));
  EXPECT_EQ(segment_.pages->count(PageState::lost), 0U);
  EXPECT_EQ(segment_.pages->corrupt_count(), 0U);
  // The kernel sends it again.
  server_->serve(write(3, 2, 2));
  expect_readable(3, 2);
  expect_readable(4, 2);
}

// Before the copy begins nothing has changed, so the old bytes are good.
TEST_F(PageCheckTest, AWriteThatWasOnlyReceivedChangesNothing) {
  server_->collect(write(3, 1, 2));
  begin_worker();
  expect_readable(3, 1);
}

TEST_F(PageCheckTest, AReadThatMeetsAWriteOfAnotherThreadIsNotAnError) {
  Server writer(*device_, segment_);
  writer.collect(write(3, 1, 2));
  ASSERT_EQ(writer.batch.start(writer.copier).value(), Batch::Outcome::started);
  // For as long as the other thread holds the page, the READ can only be sent again.
  EXPECT_TRUE(server_->serve(read(3)).is_cut_off);
  EXPECT_EQ(segment_.pages->at(3), PageState::changing);
  writer.finish();
  expect_readable(3, 2);
  EXPECT_EQ(segment_.pages->corrupt_count(), 0U);
}

// The WRITE ends between the READ's copy and its comparison.
TEST_F(PageCheckTest, AReadThatWasOvertakenByAWriteGetsTheNewBytes) {
  server_->collect(together({read(3), read(4)}));
  ASSERT_EQ(server_->batch.start(server_->copier).value(), Batch::Outcome::started);
  Server other(*device_, segment_);
  other.serve(write(3, 1, 2));
  other.serve(header(Command::trim, 4, 1));
  const auto replies = server_->finish();
  EXPECT_EQ(replies.errors, (std::vector<std::uint32_t>{0, 0}));
  EXPECT_EQ(wrong_words(std::span(replies.sent).subspan(16), 3, 2), 0U);
  EXPECT_EQ(segment_.pages->corrupt_count(), 0U);
}

TEST_F(PageCheckTest, AChangeWaitsForAnEarlierReadOfItsPages) {
  Batch other(server_->staging, Claimant::create().value(), 1);
  for (auto change : {write(3, 1, 2), header(Command::trim, 3, 1)}) {
    auto bytes = together({read(2, 2), change});
    const auto collected = other.collect(server_->connection, bytes, nullptr);
    EXPECT_EQ(collected.stop, Batch::Stop::batch_full);
    EXPECT_EQ(collected.bytes, 28U);
    EXPECT_EQ(server_->batch.collect(server_->connection, change, &other).stop, Batch::Stop::busy);
    auto beside = write(4, 1, 2);
    EXPECT_EQ(server_->batch.collect(server_->connection, beside, &other).stop,
              Batch::Stop::need_bytes);
    server_->batch.clear();
    other.clear();
  }
}

}  // namespace
}  // namespace vramswap
