#include "daemon/worker/io/reply_sender.hpp"

#include <gtest/gtest.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <csignal>
#include <cstring>
#include <numeric>
#include <thread>
#include <vector>

#include "daemon/worker/io/staging.hpp"
#include "tests/support/kernel_peer.hpp"

namespace vramswap {
namespace {

class ReplySenderTest : public testing::Test {
 protected:
  ReplySenderTest() : sender_(ReplySender::create().value()), staging_(Staging::create().value()) {
    // As the I/O threads have it: splice into a closed socket raises it.
    std::signal(SIGPIPE, SIG_IGN);
    connect();
  }

  void connect() {
    std::tie(theirs_, ours_) = load::make_connection();
    // Less than the tests send, so that they come to wait.
    constexpr int kSendBufferBytes = 64 << 10;
    setsockopt(ours_.get(), SOL_SOCKET, SO_SNDBUF, &kSendBufferBytes, sizeof(int));
  }

  // Headers and data in turn, as replies have them, all of it lendable; other bytes each time, and
  // in other pages after a `skip`.
  std::vector<iovec> some_replies(std::size_t chunks, std::size_t skip = 0) {
    const auto memory = staging_.memory();
    ++round_;
    for (std::size_t i = 0; i < memory.size(); ++i) {
      memory[i] = static_cast<std::byte>(i + 7 * (i >> 12) + round_);
    }
    std::vector<iovec> iovs;
    for (std::size_t chunk = 0; chunk < chunks; ++chunk) {
      const auto number = static_cast<Staging::Chunk>(skip + chunk);
      iovs.push_back({staging_.headers(number).data(), 16});
      iovs.push_back({staging_.data(number).data(), Staging::kDataBytes});
    }
    return iovs;
  }

  static std::vector<std::byte> content(const std::vector<iovec>& iovs) {
    std::vector<std::byte> bytes;
    for (const iovec& iov : iovs) {
      const auto* first = static_cast<const std::byte*>(iov.iov_base);
      bytes.insert(bytes.end(), first, first + iov.iov_len);
    }
    return bytes;
  }

  std::vector<std::byte> receive(std::size_t count) const {
    std::vector<std::byte> bytes(count);
    EXPECT_EQ(recv(theirs_.get(), bytes.data(), count, MSG_WAITALL), static_cast<ssize_t>(count));
    return bytes;
  }

  ReplySender sender_;
  Staging staging_;
  UniqueFd ours_;
  UniqueFd theirs_;
  std::size_t round_ = 0;
};

using SendFunction = Result<void> (ReplySender::*)(int, std::span<iovec>);
class EitherWay : public ReplySenderTest, public testing::WithParamInterface<SendFunction> {
 protected:
  Result<void> send(std::span<iovec> iovs) { return (sender_.*GetParam())(ours_.get(), iovs); }
};
INSTANTIATE_TEST_SUITE_P(Lend, EitherWay, testing::Values(&ReplySender::lend));
INSTANTIATE_TEST_SUITE_P(Copy, EitherWay, testing::Values(&ReplySender::copy));

TEST_P(EitherWay, ArrivesInOrder) {
  auto iovs = some_replies(1);
  const auto expected = content(iovs);
  ASSERT_TRUE(send(iovs));
  EXPECT_EQ(receive(expected.size()), expected);
}

// More than the socket takes at once.
TEST_P(EitherWay, WaitsForASlowReader) {
  auto iovs = some_replies(Staging::kChunkCount);
  const auto expected = content(iovs);
  std::vector<std::byte> received;
  std::thread reader([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    received = receive(expected.size());
  });
  EXPECT_TRUE(send(iovs));
  reader.join();
  EXPECT_TRUE(received == expected);
}

TEST_P(EitherWay, AClosedPeerIsAnErrorAndLeavesNothingForTheNext) {
  theirs_.reset();
  auto iovs = some_replies(4);
  EXPECT_FALSE(send(iovs));
  connect();
  iovs = some_replies(1, Staging::kChunkCount - 1);
  const auto expected = content(iovs);
  ASSERT_TRUE(send(iovs));
  EXPECT_TRUE(receive(expected.size()) == expected);
}

TEST_P(EitherWay, APeerThatClosesMidwayIsAnErrorAndLeavesNothingForTheNext) {
  auto iovs = some_replies(Staging::kChunkCount);
  std::thread closer([this] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    theirs_.reset();
  });
  EXPECT_FALSE(send(iovs));
  closer.join();
  connect();
  iovs = some_replies(1, Staging::kChunkCount - 1);
  const auto expected = content(iovs);
  ASSERT_TRUE(send(iovs));
  EXPECT_TRUE(receive(expected.size()) == expected);
}

// Replies of one connection must never end up on another, even if the process runs out of
// resources.
TEST_F(ReplySenderTest, AClosedPeerLeavesNothingBehindEvenWithoutFreeDescriptors) {
  theirs_.reset();
  auto iovs = some_replies(4);
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  const rlimit none_free{3, before.rlim_max};
  setrlimit(RLIMIT_NOFILE, &none_free);
  EXPECT_FALSE(sender_.lend(ours_.get(), iovs));
  setrlimit(RLIMIT_NOFILE, &before);
  connect();
  iovs = some_replies(1, Staging::kChunkCount - 1);
  const auto expected = content(iovs);
  ASSERT_TRUE(sender_.lend(ours_.get(), iovs));
  EXPECT_TRUE(receive(expected.size()) == expected);
}

// The reuse of lent memory depends on this.
TEST_F(ReplySenderTest, TheSocketTellsWhenLentPagesHaveBeenRead) {
  auto iovs = some_replies(1);
  const auto expected = content(iovs);
  ASSERT_TRUE(sender_.lend(ours_.get(), iovs));
  const auto unread = [this] {
    int bytes = 0;
    ioctl(ours_.get(), SIOCOUTQ, &bytes);
    return bytes;
  };
  EXPECT_GT(unread(), 0);
  receive(expected.size() - 1);
  EXPECT_GT(unread(), 0);
  // Lent, not copied: the reader sees the content of the pages at the time that it reads.
  staging_.data(0).back() = std::byte{0xee};
  EXPECT_EQ(receive(1)[0], std::byte{0xee});
  EXPECT_EQ(unread(), 0);
}

}  // namespace
}  // namespace vramswap
