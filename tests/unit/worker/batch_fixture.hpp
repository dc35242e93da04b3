// A stream of requests goes into a batch; the fixture notes the bytes that the batch sends.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "daemon/base/page_size.hpp"
#include "daemon/worker/io/batch.hpp"
#include "daemon/worker/store/ram_store.hpp"
#include "tests/support/kernel_peer.hpp"

namespace vramswap {

// An I/O thread without thread and socket.
class BatchTest : public testing::Test {
 protected:
  using Command = load::Command;
  using Page = load::Page;
  using Bytes = std::vector<std::byte>;

  static constexpr std::uint64_t kPages = 1024;

  static void append(Bytes& to, const void* data, std::size_t bytes) {
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

  // Runs the collected requests and notes the bytes that are sent.
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

  // The sent replies, by cookie; `lengths` tells how much data follows a good reply.
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

}  // namespace vramswap
