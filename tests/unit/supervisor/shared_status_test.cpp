// The status that many clients ask for is collected once.
#include "tests/unit/supervisor/service_fixture.hpp"

namespace vramswap {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class SharedStatusTest : public ServiceTest {
 protected:
  unsigned collections() { return machine_.launcher.latest().stats_reported; }
};

TEST_F(SharedStatusTest, AThousandRequestsInASecondCostFiveCollections) {
  up();
  const unsigned before = collections();
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(status(false).segments.size(), 1U);
    machine_.pass(milliseconds(1));
  }
  EXPECT_EQ(collections() - before, 5U);
}

TEST_F(SharedStatusTest, AClientThatAsksDuringACollectionWaitsForIt) {
  up();
  machine_.pass(seconds(1));
  machine_.launcher.latest().stop();
  const unsigned before = collections();
  std::vector<std::shared_ptr<FakeSession>> sessions;
  for (int i = 0; i < 30; ++i) sessions.push_back(begin(control::StatusRequest{}, false));
  // The worker does not answer in time: each of them would wait that long by itself.
  machine_.pass(milliseconds(201));
  for (const auto& session : sessions) EXPECT_EQ(session->replies.size(), 1U);
  machine_.launcher.latest().go_on();
  machine_.settle();
  EXPECT_EQ(collections() - before, 1U);
}

TEST_F(SharedStatusTest, RootsIsAlwaysNew) {
  up();
  const std::string device = status(false).segments.at(0).device;
  machine_.swap.set_used(device, 1 << 20);
  EXPECT_EQ(status(false).segments.at(0).used_bytes, 0U);
  EXPECT_EQ(status(true).segments.at(0).used_bytes, 1U << 20);
  machine_.pass(milliseconds(200));
  EXPECT_EQ(status(false).segments.at(0).used_bytes, 1U << 20);
}

TEST_F(SharedStatusTest, UpAndDownAreSeenAtOnceByAll) {
  EXPECT_TRUE(status(false).segments.empty());
  up();
  EXPECT_EQ(status(false).segments.size(), 1U);
  EXPECT_TRUE(std::holds_alternative<control::Done>(ask(control::DownRequest{}, true)));
  EXPECT_TRUE(status(false).segments.empty());
}

TEST_F(SharedStatusTest, AUserMayNotChangeTheSwap) {
  up();
  for (const control::Request& request :
       {control::Request(control::UpRequest{}), control::Request(control::DownRequest{}),
        control::Request(control::ReloadRequest{}), control::Request(control::LendRequest{}),
        control::Request(control::TakeBackRequest{})}) {
    EXPECT_TRUE(std::holds_alternative<control::Failure>(ask(request, false)));
  }
  EXPECT_EQ(status(true).segments.size(), 1U);
}

}  // namespace
}  // namespace vramswap
