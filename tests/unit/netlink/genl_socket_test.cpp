#include "netlink/genl_socket.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <poll.h>

#include <cerrno>
#include <optional>

#include "netlink/message.hpp"
#include "netlink/message_writer.hpp"

namespace vramswap::netlink {
namespace {

/// Generic netlink is there for everyone, and its own family "nlctrl" always is.
class GenlSocketTest : public testing::Test {
 protected:
  void SetUp() override {
    auto socket = GenlSocket::open();
    if (!socket) GTEST_SKIP() << "no generic netlink here: errno " << socket.error();
    socket_.emplace(std::move(*socket));
  }
  std::optional<GenlSocket> socket_;
};

TEST_F(GenlSocketTest, IsClosedOnExec) {
  EXPECT_EQ(fcntl(socket_->fd(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

TEST_F(GenlSocketTest, ResolvesFamilies) {
  EXPECT_EQ(socket_->resolve_family("nlctrl"), GENL_ID_CTRL);
  EXPECT_EQ(socket_->resolve_family("no-such-family").error(), ENOENT);
}

TEST_F(GenlSocketTest, NeverBlocks) {
  // Resolving has used the socket and must have left nothing behind.
  ASSERT_TRUE(socket_->resolve_family("nlctrl"));
  EXPECT_EQ(socket_->receive().error(), EAGAIN);
}

TEST_F(GenlSocketTest, HasTheWholeAnswerOnceTheRequestIsSent) {
  const RequestHeader header{GENL_ID_CTRL, socket_->port(), socket_->next_sequence()};
  MessageWriter writer(header, CTRL_CMD_GETFAMILY, 1, 64);
  writer.put_string(CTRL_ATTR_FAMILY_NAME, "nlctrl");
  ASSERT_TRUE(socket_->send(*writer.finish()));
  Answer answer;
  while (!answer.ack) {
    const auto datagram = socket_->receive();
    ASSERT_TRUE(datagram) << datagram.error();
    ASSERT_TRUE(collect_answer(*datagram, header, answer));
  }
  EXPECT_EQ(answer.ack->code, 0);
  const auto attributes = genl_attributes(answer.reply, CTRL_CMD_NEWFAMILY);
  ASSERT_TRUE(attributes);
  EXPECT_TRUE(find_attribute(*attributes, CTRL_ATTR_MCAST_GROUPS));
}

TEST_F(GenlSocketTest, GetsTheKernelsNegativeErrnoAsAPositiveOne) {
  const RequestHeader header{GENL_ID_CTRL, socket_->port(), socket_->next_sequence()};
  MessageWriter writer(header, CTRL_CMD_GETFAMILY, 1, 64);
  writer.put_string(CTRL_ATTR_FAMILY_NAME, "no-such-family");
  ASSERT_TRUE(socket_->send(*writer.finish()));
  const auto datagram = socket_->receive();
  ASSERT_TRUE(datagram) << datagram.error();
  Answer answer;
  ASSERT_TRUE(collect_answer(*datagram, header, answer));
  ASSERT_TRUE(answer.ack);
  EXPECT_EQ(answer.ack->code, ENOENT);
}

TEST_F(GenlSocketTest, MovesWithoutClosing) {
  const int fd = socket_->fd();
  GenlSocket moved = std::move(*socket_);
  socket_.reset();
  EXPECT_EQ(moved.fd(), fd);
  EXPECT_NE(fcntl(fd, F_GETFD), -1);
}

}  // namespace
}  // namespace vramswap::netlink
