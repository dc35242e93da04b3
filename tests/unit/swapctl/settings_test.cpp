#include "swapctl/settings.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "swapctl/arguments.hpp"

namespace vramswap::swapctl {
namespace {

using control::UpRequest;
using testing::HasSubstr;

Result<UpRequest> parse(const Arguments& words) {
  UpRequest request;
  const auto settings = up_settings(request);
  auto values = parse_arguments(words, settings, "up");
  if (!values) return values.error();
  if (const auto applied = apply(*values); !applied) return applied.error();
  return request;
}

TEST(Settings, EverySettingIsTaken) {
  const auto request = parse({"--size",
                              "80%",
                              "--priority=-1",
                              "--gpu",
                              "0",
                              "--gpu",
                              "GPU-1234",
                              "--backend",
                              "ram",
                              "--segment-size",
                              "256M",
                              "--connections",
                              "4",
                              "--reconnect-timeout",
                              "30",
                              "--doze-after",
                              "45",
                              "--hang-timeout",
                              "9",
                              "--lend-group",
                              "root"});
  ASSERT_TRUE(request) << request.error().message;
  EXPECT_EQ(request->doze_after, std::chrono::seconds(45));
  EXPECT_EQ(request->hang_timeout, std::chrono::seconds(9));
  EXPECT_EQ(request->lend_group, 0U);
  EXPECT_EQ(request->size, control::Size{control::Percent{80}});
  EXPECT_EQ(request->priority, -1);
  EXPECT_EQ(request->gpus, (std::vector<std::string>{"0", "GPU-1234"}));
  EXPECT_EQ(request->backend, control::Backend::ram);
  EXPECT_EQ(request->segment_size_bytes, 256ULL << 20);
  EXPECT_EQ(request->connections, 4U);
  EXPECT_EQ(request->reconnect_timeout, std::chrono::seconds(30));
}

TEST(Settings, AMissingSettingKeepsItsDefault) {
  const auto request = parse({"--size", "7G"});
  ASSERT_TRUE(request);
  EXPECT_EQ(request->priority, UpRequest{}.priority);
  EXPECT_EQ(request->segment_size_bytes, UpRequest{}.segment_size_bytes);
  EXPECT_TRUE(request->gpus.empty());
  // Not zero, which is never: it depends on the backend.
  EXPECT_EQ(request->doze_after, std::nullopt);
  EXPECT_EQ(request->hang_timeout, UpRequest{}.hang_timeout);
  EXPECT_EQ(request->lend_group, std::nullopt);
}

TEST(Settings, ZeroSecondsMeanNeverToDoze) {
  const auto request = parse({"--doze-after", "0"});
  ASSERT_TRUE(request) << request.error().message;
  EXPECT_EQ(request->doze_after, std::chrono::seconds(0));
}

TEST(Settings, ANegativePriorityMayStandAlone) {
  const auto request = parse({"--priority", "-1"});
  ASSERT_TRUE(request) << request.error().message;
  EXPECT_EQ(request->priority, -1);
}

TEST(Settings, LimitsAreInside) {
  for (const Arguments& words : std::vector<Arguments>{{"--size", "4096"},
                                                       {"--size", "max"},
                                                       {"--priority", "32767"},
                                                       {"--priority", "0"},
                                                       {"--connections", "0"},
                                                       {"--connections", "64"},
                                                       {"--segment-size", "2M"},
                                                       {"--reconnect-timeout", "1"},
                                                       {"--reconnect-timeout", "86400"},
                                                       {"--doze-after", "0"},
                                                       {"--doze-after", "86400"},
                                                       {"--hang-timeout", "1"},
                                                       {"--hang-timeout", "3600"}}) {
    EXPECT_TRUE(parse(words)) << words[0] << ' ' << words[1];
  }
}

// The name is looked up here: the daemon gets the number.
TEST(Settings, AGroupThatDoesNotExistIsNamed) {
  for (const char* name : {"no-such-group", "", "0"}) {
    const auto request = parse({"--lend-group", name});
    ASSERT_FALSE(request) << name;
    EXPECT_EQ(request.error().message,
              std::string("lend-group '") + name + "': there is no such group");
  }
}

TEST(Settings, OnlyTheSizeMustBeGiven) {
  const auto without = check_complete({});
  ASSERT_FALSE(without);
  EXPECT_THAT(without.error().message, HasSubstr("--size 7G"));
  EXPECT_TRUE(check_complete({.size = control::Maximum{}, .gpus = {}}));
}

// What one side accepts and the other refuses would reach people as a protocol error.
TEST(Settings, TheProtocolCarriesEveryLimit) {
  const auto request =
      parse({"--size", "0.1%", "--priority", "-1", "--segment-size", "2M", "--connections", "64",
             "--reconnect-timeout", "86400", "--doze-after", "86400", "--hang-timeout", "3600"});
  ASSERT_TRUE(request);
  const auto back = control::decode_request(control::encode(control::Request{*request}));
  EXPECT_TRUE(back) << back.error().message;
}

}  // namespace
}  // namespace vramswap::swapctl
