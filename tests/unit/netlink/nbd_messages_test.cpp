#include "netlink/nbd_messages.hpp"

#include <gmock/gmock.h>
#include <linux/nbd-netlink.h>
#include <linux/nbd.h>

#include <cerrno>

#include "recorded_datagram.hpp"
#include "recorded_messages.hpp"

namespace vramswap::netlink {
namespace {

using testing::ElementsAreArray;
using namespace std::chrono_literals;

auto is_exactly(std::span<const std::byte> bytes) {
  return ElementsAreArray(bytes.begin(), bytes.end());
}

std::span<const std::byte> payload_of(std::span<const std::byte> datagram) {
  return only_message(datagram).payload;
}

TEST(EncodeConnect, MatchesTheBytesThatTheKernelAccepted) {
  const ConnectRequest request{
      .index = std::nullopt,
      .size_bytes = 16 << 20,
      .block_size_bytes = 4096,
      .server_flags = NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH | NBD_FLAG_CAN_MULTI_CONN,
      .client_flags = 0,
      .timeout = 30s,
      .dead_connection_timeout = 600s,
      .backend_identifier = "vramswap-0",
      .sockets = {5, 7},
  };
  const auto bytes = encode_connect(header_of(recorded::kConnectRequest), request);
  ASSERT_TRUE(bytes);
  EXPECT_THAT(*bytes, is_exactly(recorded::kConnectRequest));
}

TEST(EncodeConnect, OmitsWhatIsNotGiven) {
  const RequestHeader header{recorded::kFamily, 1, 1};
  const auto bytes = encode_connect(header, {.index = 5});
  ASSERT_TRUE(bytes);
  const auto attributes = genl_attributes(payload_of(*bytes), NBD_CMD_CONNECT);
  ASSERT_TRUE(attributes);
  EXPECT_EQ(find_u32(*attributes, NBD_ATTR_INDEX), 5u);
  EXPECT_TRUE(find_attribute(*attributes, NBD_ATTR_CLIENT_FLAGS));
  for (const int type : {NBD_ATTR_TIMEOUT, NBD_ATTR_DEAD_CONN_TIMEOUT, NBD_ATTR_SOCKETS,
                         NBD_ATTR_BACKEND_IDENTIFIER})
    EXPECT_FALSE(find_attribute(*attributes, type)) << type;
}

TEST(EncodeConnect, HasRoomForManySockets) {
  const RequestHeader header{recorded::kFamily, 1, 1};
  ConnectRequest request{.sockets = std::vector<int>(5000, 3)};
  const auto bytes = encode_connect(header, request);
  ASSERT_TRUE(bytes);
  const auto attributes = genl_attributes(payload_of(*bytes), NBD_CMD_CONNECT);
  EXPECT_EQ(find_attribute(*attributes, NBD_ATTR_SOCKETS)->size(), 5000u * 12);
}

TEST(EncodeConnect, RefusesMoreThanAnAttributeCanHold) {
  const RequestHeader header{recorded::kFamily, 1, 1};
  EXPECT_EQ(encode_connect(header, {.sockets = std::vector<int>(6000, 3)}).error(), EMSGSIZE);
  EXPECT_EQ(encode_connect(header, {.backend_identifier = std::string(70'000, 'x')}).error(),
            EMSGSIZE);
}

TEST(EncodeReconfigure, MatchesTheBytesThatTheKernelAccepted) {
  const ReconfigureRequest request{
      .index = 0,
      .timeout = 30s,
      .dead_connection_timeout = 600s,
      .backend_identifier = "vramswap-0",
      .sockets = {13},
  };
  const auto bytes = encode_reconfigure(header_of(recorded::kReconfigureRequest), request);
  ASSERT_TRUE(bytes);
  EXPECT_THAT(*bytes, is_exactly(recorded::kReconfigureRequest));
}

TEST(EncodeDisconnect, MatchesTheBytesThatTheKernelAccepted) {
  const auto bytes = encode_disconnect(header_of(recorded::kDisconnectRequest), 0);
  ASSERT_TRUE(bytes);
  EXPECT_THAT(*bytes, is_exactly(recorded::kDisconnectRequest));
}

TEST(DecodeConnectReply, ReadsTheIndex) {
  EXPECT_EQ(decode_connect_reply(payload_of(recorded::kConnectReply)), 0u);
}

TEST(DecodeConnectReply, RefusesOtherMessages) {
  EXPECT_FALSE(decode_connect_reply(payload_of(recorded::kLinkDead)));
  EXPECT_FALSE(decode_connect_reply(payload_of(recorded::kStatusReply)));
  EXPECT_FALSE(decode_connect_reply({}));
}

}  // namespace
}  // namespace vramswap::netlink
