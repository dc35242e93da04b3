#include "daemon/worker/io/transmission.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cerrno>

namespace vramswap::transmission {
namespace {

template <class... Values>
constexpr std::array<std::byte, sizeof...(Values)> bytes(Values... values) {
  return {static_cast<std::byte>(values)...};
}

// Written out by hand from the protocol document.
constexpr auto kRead8PagesAt64K = bytes(0x25, 0x60, 0x95, 0x13, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8,
                                        0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0x80, 0);

TEST(Transmission, DecodesARequest) {
  const auto request = decode_request(kRead8PagesAt64K);
  ASSERT_TRUE(request);
  EXPECT_EQ(request->command, NBD_CMD_READ);
  EXPECT_EQ(request->flags, 0);
  EXPECT_EQ(request->offset, 64U << 10);
  EXPECT_EQ(request->length, 32U << 10);
  EXPECT_FALSE(request->has_payload());
}

TEST(Transmission, DecodesCommandAndFlags) {
  auto wire = kRead8PagesAt64K;
  wire[5] = std::byte{1};  // FUA
  wire[7] = std::byte{1};  // WRITE
  const auto request = decode_request(wire);
  ASSERT_TRUE(request);
  EXPECT_EQ(request->command, NBD_CMD_WRITE);
  EXPECT_EQ(request->flags, 1);
  EXPECT_TRUE(request->has_payload());
}

TEST(Transmission, EveryBitOfTheMagicCounts) {
  for (std::size_t bit = 0; bit < 32; ++bit) {
    auto wire = kRead8PagesAt64K;
    wire[bit / 8] ^= std::byte{1} << (bit % 8);
    EXPECT_FALSE(decode_request(wire)) << bit;
  }
}

TEST(Transmission, RepliesWithTheCookieAsItCame) {
  std::array<std::byte, kReplyBytes> reply;
  encode_reply(decode_request(kRead8PagesAt64K)->cookie, EIO, reply);
  EXPECT_EQ(reply, bytes(0x67, 0x44, 0x66, 0x98, 0, 0, 0, 5, 1, 2, 3, 4, 5, 6, 7, 8));
}

constexpr std::uint64_t kExportBytes = 8 << 20;
constexpr std::uint16_t kUnknownCommand = 77;

struct Case {
  const char* name;
  std::uint16_t command;
  std::uint64_t offset;
  std::uint32_t length;
  Action action;
  std::uint32_t error = 0;
};

class Judged : public testing::TestWithParam<Case> {};
TEST_P(Judged, As) {
  const Case& given = GetParam();
  const Request request{0, given.command, 1, given.offset, given.length};
  const auto validation = validate_request(request, kExportBytes);
  EXPECT_EQ(validation.action, given.action);
  EXPECT_EQ(validation.error, given.error);
}

constexpr std::uint64_t kHighest = ~std::uint64_t{0};
constexpr std::uint32_t kLongest = ~std::uint32_t{0};
INSTANTIATE_TEST_SUITE_P(
    Good, Judged,
    testing::Values(Case{"read_first_page", NBD_CMD_READ, 0, 4096, Action::serve},
                    Case{"read_last_page", NBD_CMD_READ, kExportBytes - 4096, 4096, Action::serve},
                    Case{"longest_read", NBD_CMD_READ, 4096, 1 << 20, Action::serve},
                    Case{"longest_write", NBD_CMD_WRITE, 7 << 20, 1 << 20, Action::serve},
                    Case{"trim_all", NBD_CMD_TRIM, 0, kExportBytes, Action::serve},
                    Case{"zero_all", kCommandWriteZeroes, 0, kExportBytes, Action::serve},
                    Case{"flush", NBD_CMD_FLUSH, 0, 0, Action::serve},
                    Case{"disconnect", NBD_CMD_DISC, 0, 0, Action::disconnect}),
    [](const auto& info) { return info.param.name; });
INSTANTIATE_TEST_SUITE_P(
    Bad, Judged,
    testing::Values(
        Case{"unknown_command", kUnknownCommand, 0, 4096, Action::refuse, EINVAL},
        Case{"read_past_end", NBD_CMD_READ, kExportBytes - 4096, 8192, Action::refuse, EINVAL},
        Case{"read_at_end", NBD_CMD_READ, kExportBytes, 4096, Action::refuse, EINVAL},
        Case{"read_that_wraps", NBD_CMD_READ, kHighest - 4095, 8192, Action::refuse, EINVAL},
        Case{"write_past_end", NBD_CMD_WRITE, kExportBytes - 4096, 8192, Action::refuse, ENOSPC},
        Case{"write_that_wraps", NBD_CMD_WRITE, kHighest - 4095, 8192, Action::refuse, ENOSPC},
        Case{"trim_past_end", NBD_CMD_TRIM, 4096, kExportBytes, Action::refuse, EINVAL},
        Case{"zero_past_end", kCommandWriteZeroes, 4096, kExportBytes, Action::refuse, ENOSPC},
        Case{"misaligned_offset", NBD_CMD_READ, 512, 4096, Action::refuse, EINVAL},
        Case{"misaligned_length", NBD_CMD_WRITE, 0, 4608, Action::refuse, EINVAL},
        Case{"misaligned_trim", NBD_CMD_TRIM, 0, 512, Action::refuse, EINVAL},
        Case{"empty_read", NBD_CMD_READ, 0, 0, Action::refuse, EINVAL},
        Case{"empty_write", NBD_CMD_WRITE, 0, 0, Action::refuse, EINVAL},
        Case{"read_too_long", NBD_CMD_READ, 0, (1 << 20) + 4096, Action::refuse, EINVAL},
        Case{"longest_read_of_all", NBD_CMD_READ, 0, kLongest, Action::refuse, EINVAL},
        Case{"write_too_long", NBD_CMD_WRITE, 0, (1 << 20) + 4096, Action::refuse, EINVAL},
        Case{"drained_write", NBD_CMD_WRITE, 0, 64 << 20, Action::refuse, EINVAL},
        Case{"write_beyond_draining", NBD_CMD_WRITE, 0, (64 << 20) + 1, Action::abandon}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace vramswap::transmission
