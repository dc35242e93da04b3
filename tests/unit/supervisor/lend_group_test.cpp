// Who may lend VRAM and take it back, and how many loans there may be.
#include "tests/unit/supervisor/service_fixture.hpp"

namespace vramswap {
namespace {

using control::LendRequest;
using control::TakeBackRequest;
using testing::HasSubstr;

class LendGroupTest : public ServiceTest {
 protected:
  static constexpr gid_t kGroup = 44;
  static constexpr std::uint64_t kSegment = 64 << 20;

  // Two segments of VRAM.
  void up_on_vram(std::optional<gid_t> group) {
    control::UpRequest request;
    request.size = control::Bytes{2 * kSegment};
    request.segment_size_bytes = kSegment;
    request.lend_group = group;
    ASSERT_TRUE(std::holds_alternative<control::Status>(ask(request, true)));
  }
  control::Reply ask_with_groups(control::Request request, std::vector<gid_t> groups) {
    const auto session = std::make_shared<FakeSession>(false);
    session->groups = std::move(groups);
    return ask(std::move(request), session);
  }
  // What the daemon refuses with, or nothing.
  static std::string refusal(const control::Reply& reply) {
    const auto* failure = std::get_if<control::Failure>(&reply);
    return failure != nullptr ? failure->message : "";
  }
  static constexpr const char* kRefused = "only root and the members of lend-group";
};

TEST_F(LendGroupTest, AMemberMayLendAndTakeBack) {
  up_on_vram(kGroup);
  const auto reply = ask_with_groups(LendRequest{.bytes = kSegment}, {7, kGroup});
  ASSERT_TRUE(std::holds_alternative<control::Lent>(reply)) << refusal(reply);
  EXPECT_EQ(std::get<control::Lent>(reply).missing_bytes, 0U);
  EXPECT_EQ(status(false).loans.size(), 1U);
  EXPECT_EQ(refusal(ask_with_groups(TakeBackRequest{}, {kGroup})), "");
  EXPECT_EQ(status(true).loans.size(), 0U);
}

TEST_F(LendGroupTest, AMemberMayDoNothingElse) {
  up_on_vram(kGroup);
  for (const control::Request& request :
       {control::Request(control::UpRequest{}), control::Request(control::DownRequest{}),
        control::Request(control::ReloadRequest{})}) {
    EXPECT_THAT(refusal(ask_with_groups(request, {kGroup})), HasSubstr("only root may change"));
  }
  EXPECT_EQ(status(true).segments.size(), 2U);
}

TEST_F(LendGroupTest, OthersMayNot) {
  up_on_vram(kGroup);
  for (const std::vector<gid_t>& groups : std::vector<std::vector<gid_t>>{{}, {0, 7}}) {
    EXPECT_THAT(refusal(ask_with_groups(LendRequest{}, groups)), HasSubstr(kRefused));
    EXPECT_THAT(refusal(ask_with_groups(LendRequest{.is_held = true}, groups)),
                HasSubstr(kRefused));
    EXPECT_THAT(refusal(ask_with_groups(TakeBackRequest{}, groups)), HasSubstr(kRefused));
  }
  EXPECT_TRUE(status(true).loans.empty());
}

TEST_F(LendGroupTest, WithoutAGroupOnlyRootMay) {
  up_on_vram(std::nullopt);
  EXPECT_THAT(refusal(ask_with_groups(LendRequest{}, {0, kGroup})), HasSubstr(kRefused));
  EXPECT_EQ(refusal(ask(LendRequest{.bytes = kSegment}, true)), "");
}

TEST_F(LendGroupTest, TheNextSupervisorKnowsTheGroup) {
  up_on_vram(kGroup);
  begin_supervisor();
  const auto taken = machine_.run(service_->take_over(machine_.service_manager.receive_fdstore()));
  ASSERT_TRUE(taken) << taken.error().message;
  machine_.pass(std::chrono::minutes(1));
  EXPECT_EQ(refusal(ask_with_groups(LendRequest{.bytes = kSegment}, {kGroup})), "");
  EXPECT_THAT(refusal(ask_with_groups(LendRequest{}, {7})), HasSubstr(kRefused));
}

TEST_F(LendGroupTest, WithNothingUpACommandMayHaveAllThatThereIs) {
  const auto reply = ask_with_groups(LendRequest{.is_held = true}, {});
  ASSERT_TRUE(std::holds_alternative<control::Lent>(reply)) << refusal(reply);
  EXPECT_EQ(std::get<control::Lent>(reply).freed_bytes, 0U);
  EXPECT_EQ(std::get<control::Lent>(reply).missing_bytes, 0U);
  EXPECT_THAT(refusal(ask_with_groups(LendRequest{}, {})), HasSubstr(kRefused));
  EXPECT_EQ(refusal(ask(LendRequest{}, true)), "nothing is up");
}

TEST_F(LendGroupTest, SwapInHostMemoryTakesNoVramFromACommand) {
  up();
  EXPECT_EQ(refusal(ask_with_groups(LendRequest{.is_held = true}, {})), "");
  EXPECT_THAT(refusal(ask(LendRequest{}, true)), HasSubstr("there is no VRAM to lend"));
  EXPECT_TRUE(status(true).loans.empty());
}

TEST_F(LendGroupTest, ThereAreAtMostSixtyFourLoans) {
  up_on_vram(kGroup);
  for (int i = 0; i < 64; ++i) {
    EXPECT_EQ(refusal(ask_with_groups(LendRequest{.bytes = 1}, {kGroup})), "") << i;
  }
  EXPECT_EQ(refusal(ask_with_groups(LendRequest{.bytes = 1}, {kGroup})),
            "there are 64 loans: end one of them first");
  EXPECT_EQ(refusal(ask(LendRequest{.bytes = 1}, true)),
            "there are 64 loans: end one of them first");
  EXPECT_EQ(refusal(ask(TakeBackRequest{}, true)), "");
  EXPECT_EQ(refusal(ask(LendRequest{.bytes = 1}, true)), "");
}

}  // namespace
}  // namespace vramswap
