#include "daemon/handover/channel.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace vramswap {
namespace {

class Channel : public testing::Test {
 protected:
  Channel() : ends_(make_channel().value()) {}

  int ours() const { return ends_.first.get(); }
  int theirs() const { return ends_.second.get(); }
  Packet receive() const { return receive_packet(theirs()).value().value(); }

  std::pair<UniqueFd, UniqueFd> ends_;
};

TEST_F(Channel, KeepsPacketsApart) {
  ASSERT_TRUE(send_packet(ours(), "one"));
  ASSERT_TRUE(send_packet(ours(), std::string(kMaxPacketBytes, 'x')));
  EXPECT_EQ(receive().text, "one");
  EXPECT_EQ(receive().text, std::string(kMaxPacketBytes, 'x'));
}

TEST_F(Channel, PassesDescriptorsThatNoChildInherits) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd read_end(ends[0]);
  const UniqueFd write_end(ends[1]);
  ASSERT_TRUE(send_packet(ours(), "a pipe", std::array{write_end.get()}));
  const Packet packet = receive();
  ASSERT_EQ(packet.fds.size(), 1U);
  EXPECT_NE(fcntl(packet.fds[0].get(), F_GETFD) & FD_CLOEXEC, 0);
  ASSERT_EQ(write(packet.fds[0].get(), "x", 1), 1);
  char byte = 0;
  EXPECT_EQ(read(read_end.get(), &byte, 1), 1);
  EXPECT_EQ(byte, 'x');
}

TEST_F(Channel, PassesAsManyDescriptorsAsPromised) {
  const std::vector<int> fds(kMaxPacketFds, STDERR_FILENO);
  ASSERT_TRUE(send_packet(ours(), "many", fds));
  EXPECT_EQ(receive().fds.size(), kMaxPacketFds);
}

TEST_F(Channel, RefusesPacketsThatTheOtherSideCouldNotReceive) {
  EXPECT_EQ(send_packet(ours(), std::string(kMaxPacketBytes + 1, 'x')).error().code, EMSGSIZE);
  const std::vector<int> fds(kMaxPacketFds + 1, STDERR_FILENO);
  EXPECT_EQ(send_packet(ours(), "many", fds).error().code, EMSGSIZE);
  // It would read as the end.
  EXPECT_EQ(send_packet(ours(), "").error().code, EMSGSIZE);
}

TEST_F(Channel, ATruncatedPacketIsAnErrorAndTheChannelKeepsWorking) {
  const std::string text(kMaxPacketBytes + 1, 'x');
  ASSERT_GT(send(ours(), text.data(), text.size(), 0), 0);
  ASSERT_TRUE(send_packet(ours(), "next"));
  EXPECT_EQ(receive_packet(theirs()).error().code, EMSGSIZE);
  EXPECT_EQ(receive().text, "next");
}

TEST_F(Channel, DescriptorsCutShortAreSaidAndNoneLeaks) {
  ASSERT_TRUE(send_packet(ours(), "two", std::array{ours(), ours()}));
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  const int lowest_free = fcntl(ours(), F_DUPFD_CLOEXEC, 0);
  close(lowest_free);
  const rlimit one_more{static_cast<rlim_t>(lowest_free) + 1, before.rlim_max};
  setrlimit(RLIMIT_NOFILE, &one_more);
  const auto packet = receive_packet(theirs());
  setrlimit(RLIMIT_NOFILE, &before);
  ASSERT_TRUE(packet && *packet);
  EXPECT_EQ((*packet)->text, "two");
  EXPECT_TRUE((*packet)->lacks_fds);
  EXPECT_TRUE((*packet)->fds.empty());
  EXPECT_EQ(fcntl(lowest_free, F_GETFD), -1);
}

TEST_F(Channel, TellsItsEnd) {
  ASSERT_TRUE(send_packet(ours(), "last"));
  ends_.first.reset();
  EXPECT_EQ(receive().text, "last");
  EXPECT_FALSE(receive_packet(theirs()).value());
  EXPECT_EQ(send_packet(theirs(), "too late").error().code, EPIPE);
}

TEST_F(Channel, TellsItsEndWithPacketsUnread) {
  ASSERT_TRUE(send_packet(theirs(), "never read"));
  ASSERT_TRUE(send_packet(ours(), "last words"));
  ends_.first.reset();
  EXPECT_EQ(receive().text, "last words");
  EXPECT_FALSE(receive_packet(theirs()).value());
}

TEST_F(Channel, DoesNotWaitIfNonBlocking) {
  fcntl(theirs(), F_SETFL, O_NONBLOCK);
  EXPECT_EQ(receive_packet(theirs()).error().code, EAGAIN);
}

}  // namespace
}  // namespace vramswap
