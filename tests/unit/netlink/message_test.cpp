#include "netlink/message.hpp"

#include <gmock/gmock.h>
#include <linux/genetlink.h>
#include <linux/nbd-netlink.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "recorded_datagram.hpp"
#include "recorded_messages.hpp"

namespace vramswap::netlink {
namespace {

using Bytes = std::vector<std::byte>;

Bytes copy_of(std::span<const std::byte> bytes) {
  return {bytes.begin(), bytes.end()};
}

template <class T>
void overwrite(Bytes& bytes, size_t offset, T value) {
  std::memcpy(bytes.data() + offset, &value, sizeof value);
}

std::optional<Ack> verdict_of(std::span<const std::byte> datagram) {
  return decode_ack(only_message(datagram));
}

TEST(SplitDatagram, ReadsTheHeader) {
  const Message message = only_message(recorded::kConnectReply);
  EXPECT_EQ(message.type, recorded::kFamily);
  EXPECT_EQ(message.flags, 0);
  EXPECT_EQ(message.sequence, 0x6b032613u);
  EXPECT_EQ(message.port, 0x8880005eu);
  EXPECT_EQ(message.payload.size(), 12u);
}

TEST(SplitDatagram, FindsEveryMessage) {
  Bytes both = copy_of(recorded::kConnectReply);
  std::ranges::copy(std::span<const std::byte>(recorded::kConnectAck), std::back_inserter(both));
  const auto messages = split_datagram(both);
  ASSERT_TRUE(messages);
  ASSERT_EQ(messages->size(), 2u);
  EXPECT_EQ(messages->at(0).type, recorded::kFamily);
  EXPECT_EQ(messages->at(1).type, NLMSG_ERROR);
}

TEST(SplitDatagram, RefusesEveryTruncation) {
  const std::span<const std::byte> whole = recorded::kShortSizeNack;
  for (size_t size = 1; size < whole.size(); ++size)
    EXPECT_FALSE(split_datagram(whole.first(size))) << size;
  EXPECT_TRUE(split_datagram({})->empty());
}

TEST(SplitDatagram, RefusesALengthBelowTheHeader) {
  Bytes bytes = copy_of(recorded::kConnectAck);
  for (uint32_t length : {0u, 1u, 15u}) {
    overwrite(bytes, 0, length);
    EXPECT_FALSE(split_datagram(bytes)) << length;
  }
}

TEST(DecodeVerdict, ReadsAnAck) {
  const auto ack = verdict_of(recorded::kConnectAck);
  ASSERT_TRUE(ack);
  EXPECT_EQ(ack->code, 0);
  EXPECT_EQ(ack->extack, "");
}

TEST(DecodeVerdict, TurnsTheKernelsSign) {
  EXPECT_EQ(verdict_of(recorded::kBusyNack)->code, EBUSY);
  EXPECT_EQ(verdict_of(recorded::kBusyNackCapped)->code, EBUSY);
  EXPECT_EQ(verdict_of(recorded::kNoBackendNack)->code, EINVAL);
  EXPECT_EQ(verdict_of(recorded::kNoBackendNack)->extack, "");
}

TEST(DecodeVerdict, RefusesASignThatTheKernelNeverSends) {
  Bytes bytes = copy_of(recorded::kBusyNack);
  overwrite(bytes, NLMSG_HDRLEN, int{EBUSY});
  EXPECT_FALSE(verdict_of(bytes));
}

TEST(DecodeVerdict, FindsExtackBehindTheWholeRequest) {
  const auto short_fd = verdict_of(recorded::kShortFdNack);
  ASSERT_TRUE(short_fd);
  EXPECT_EQ(short_fd->code, EINVAL);
  EXPECT_EQ(short_fd->extack, "Attribute failed policy validation");
  const auto short_size = verdict_of(recorded::kShortSizeNack);
  ASSERT_TRUE(short_size);
  EXPECT_EQ(short_size->code, ERANGE);
  EXPECT_EQ(short_size->extack, "Attribute failed policy validation");
}

TEST(DecodeVerdict, FindsExtackBehindACappedRequest) {
  const auto ack = verdict_of(recorded::kShortIndexNackCapped);
  ASSERT_TRUE(ack);
  EXPECT_EQ(ack->code, ERANGE);
  EXPECT_EQ(ack->extack, "Attribute failed policy validation");
}

TEST(DecodeVerdict, AcceptsExtackWithoutText) {
  const auto ack = verdict_of(recorded::kNoIndexNack);
  ASSERT_TRUE(ack);
  EXPECT_EQ(ack->code, EINVAL);
  EXPECT_EQ(ack->extack, "");
}

TEST(DecodeVerdict, ToleratesExtackTextWithoutItsZero) {
  Bytes bytes = copy_of(recorded::kShortIndexNackCapped);
  const size_t text = NLMSG_HDRLEN + sizeof(nlmsgerr);
  uint16_t length;
  std::memcpy(&length, bytes.data() + text, sizeof length);
  overwrite(bytes, text, static_cast<uint16_t>(length - 1));
  EXPECT_EQ(verdict_of(bytes)->extack, "Attribute failed policy validation");
}

TEST(DecodeVerdict, RefusesOtherMessages) {
  EXPECT_FALSE(verdict_of(recorded::kConnectReply));
  EXPECT_FALSE(verdict_of(recorded::kStatusReply));
}

TEST(DecodeVerdict, RefusesARequestLengthThatPointsOutside) {
  Bytes bytes = copy_of(recorded::kShortFdNack);
  const size_t request = NLMSG_HDRLEN + offsetof(nlmsgerr, msg);
  for (const uint32_t length : {0u, 15u, 1000u, 0x7fffffffu, 0xfffffffdu, 0xffffffffu}) {
    overwrite(bytes, request, length);
    EXPECT_FALSE(verdict_of(bytes)) << length;
  }
}

TEST(DecodeVerdict, NeverReadsOutsideATruncatedPayload) {
  const Message whole = only_message(recorded::kShortFdNack);
  for (size_t size = 0; size < whole.payload.size(); ++size) {
    Bytes part = copy_of(whole.payload.first(size));  // for the address sanitizer
    Message message = whole;
    message.payload = part;
    const auto ack = decode_ack(message);
    if (size < sizeof(nlmsgerr)) {
      EXPECT_FALSE(ack);
    }
  }
}

TEST(CollectAnswer, TakesReplyAndAckFromDatagramsOfTheirOwn) {
  const auto request = header_of(recorded::kConnectRequest);
  Answer answer;
  ASSERT_TRUE(collect_answer(recorded::kConnectReply, request, answer));
  EXPECT_FALSE(answer.ack);
  EXPECT_EQ(answer.reply.size(), 12u);
  ASSERT_TRUE(collect_answer(recorded::kConnectAck, request, answer));
  ASSERT_TRUE(answer.ack);
  EXPECT_EQ(answer.ack->code, 0);
}

TEST(CollectAnswer, TakesANackWithoutAReply) {
  Answer answer;
  ASSERT_TRUE(collect_answer(recorded::kBusyNack, header_of(recorded::kBusyRequest), answer));
  EXPECT_EQ(answer.ack->code, EBUSY);
  EXPECT_TRUE(answer.reply.empty());
}

TEST(CollectAnswer, SkipsAnswersToOtherRequests) {
  RequestHeader request = header_of(recorded::kStatusRequest);
  Answer answer;
  ASSERT_TRUE(collect_answer(recorded::kConnectReply, request, answer));
  ASSERT_TRUE(collect_answer(recorded::kConnectAck, request, answer));
  ASSERT_TRUE(collect_answer(recorded::kBusyNack, request, answer));
  request.port += 1;
  ASSERT_TRUE(collect_answer(recorded::kStatusReply, request, answer));
  ASSERT_TRUE(collect_answer(recorded::kStatusAck, request, answer));
  EXPECT_FALSE(answer.ack);
  EXPECT_TRUE(answer.reply.empty());
}

TEST(CollectAnswer, RefusesMalformedNetlink) {
  Answer answer;
  EXPECT_FALSE(collect_answer(std::span<const std::byte>(recorded::kConnectAck).first(20),
                              header_of(recorded::kConnectRequest), answer));
}

TEST(FindAttribute, LooksThroughAllOfThem) {
  const auto payload = only_message(recorded::kConnectRequest).payload;
  const auto attributes = genl_attributes(payload, NBD_CMD_CONNECT);
  ASSERT_TRUE(attributes);
  EXPECT_TRUE(find_attribute(*attributes, NBD_ATTR_SIZE_BYTES));
  EXPECT_TRUE(find_attribute(*attributes, NBD_ATTR_SOCKETS));  // behind its NLA_F_NESTED
  EXPECT_FALSE(find_attribute(*attributes, NBD_ATTR_INDEX));
}

TEST(FindAttribute, RefusesANumberOfAnotherLength) {
  const auto payload = only_message(recorded::kConnectRequest).payload;
  const auto attributes = genl_attributes(payload, NBD_CMD_CONNECT);
  EXPECT_FALSE(find_u32(*attributes, NBD_ATTR_SIZE_BYTES));
}

TEST(GenlAttributes, RefusesAnotherCommand) {
  const auto payload = only_message(recorded::kConnectReply).payload;
  EXPECT_TRUE(genl_attributes(payload, NBD_CMD_CONNECT));
  EXPECT_FALSE(genl_attributes(payload, NBD_CMD_STATUS));
  EXPECT_FALSE(genl_attributes(payload.first(3), NBD_CMD_CONNECT));
}

}  // namespace
}  // namespace vramswap::netlink
