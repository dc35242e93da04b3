#include "daemon/control/size.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <tuple>

namespace vramswap::control {
namespace {

using testing::HasSubstr;

constexpr std::uint64_t kGiB = 1ULL << 30;

class GoodSize : public testing::TestWithParam<std::tuple<const char*, std::uint64_t>> {};
TEST_P(GoodSize, ParsesToBytes) {
  const auto [text, bytes] = GetParam();
  const auto size = parse_byte_size(text);
  ASSERT_TRUE(size) << size.error().message;
  EXPECT_EQ(*size, bytes);
}
INSTANTIATE_TEST_SUITE_P(Units, GoodSize,
                         testing::Values(std::tuple{"7G", 7 * kGiB}, std::tuple{"7g", 7 * kGiB},
                                         std::tuple{"7GiB", 7 * kGiB}, std::tuple{"7GB", 7 * kGiB},
                                         std::tuple{"512M", 512ULL << 20},
                                         std::tuple{"1.5GiB", 3 * kGiB / 2},
                                         std::tuple{"4096", 4096ULL}, std::tuple{"4096B", 4096ULL},
                                         std::tuple{"4K", 4096ULL}, std::tuple{"2T", 2048 * kGiB},
                                         std::tuple{"0.5K", 512ULL}));

class BadSize : public testing::TestWithParam<const char*> {};
TEST_P(BadSize, SaysWhatIsAccepted) {
  const auto size = parse_size(GetParam());
  ASSERT_FALSE(size);
  EXPECT_THAT(size.error().message, HasSubstr(GetParam()));
  EXPECT_THAT(size.error().message, HasSubstr("G means GiB"));
}
INSTANTIATE_TEST_SUITE_P(Texts, BadSize,
                         testing::Values("", "0", "0G", "-1", "-7G", "G", "7X", "7GG", "7G 1",
                                         "1.5", "1e3", "0%", "101%", "-5%", "%", "5%%", "maximum",
                                         "inf", "nan", "0.0001K", "0x10", "9E", "8E", "1..5G",
                                         "7 G"));

TEST(Size, PercentAndMax) {
  EXPECT_EQ(*parse_size("80%"), Size{Percent{80}});
  EXPECT_EQ(*parse_size("12.5%"), Size{Percent{12.5}});
  EXPECT_EQ(*parse_size("max"), Size{Maximum{}});
}

TEST(Size, PercentIsNoByteSize) {
  EXPECT_FALSE(parse_byte_size("80%"));
}

TEST(Size, TextReadsBackExactly) {
  for (const char* text : {"7G", "1536M", "80%", "12.5%", "0.00001%", "max", "4097", "1E"}) {
    const auto size = parse_size(text);
    ASSERT_TRUE(size);
    EXPECT_EQ(to_string(*size), text);
  }
}

TEST(Size, FormatsAsSwaponDoes) {
  EXPECT_EQ(format_bytes(0), "0B");
  EXPECT_EQ(format_bytes(1023), "1023B");
  EXPECT_EQ(format_bytes(7 * kGiB), "7G");
  EXPECT_EQ(format_bytes(3 * kGiB / 2), "1.5G");
  EXPECT_EQ(format_bytes(2 * kGiB - 4096), "1.9G");
  EXPECT_EQ(format_bytes(217088), "212K");
}

}  // namespace
}  // namespace vramswap::control
