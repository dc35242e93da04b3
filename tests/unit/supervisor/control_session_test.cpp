// What one client of the control socket may take, and for how long.
#include "tests/unit/supervisor/control_fixture.hpp"

namespace vramswap {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;
using testing::Not;

// More than a socket holds.
constexpr std::size_t kLargeBytes = 4 << 20;

class ControlSessionTest : public ControlTest {
 protected:
  // A request of that many bytes.
  static std::string request_of(std::size_t bytes) {
    std::string line(kRequest);
    line.insert(line.size() - 1, bytes - line.size(), ' ');
    return line;
  }
  std::string reply_to(uid_t user, const std::string& text) {
    const UniqueFd client = connect(user);
    send(client, text);
    return read(client);
  }
};

TEST_F(ControlSessionTest, AUsersRequestMustBeThereInFiveSeconds) {
  for (const std::string_view part :
       {"", "{\"protocol\":", "{\"protocol\":2,\"type\":\"status\"}"}) {
    const UniqueFd client = connect(kUser);
    send(client, part);
    machine_.pass(milliseconds(4999));
    EXPECT_TRUE(is_open(client)) << part;
    machine_.pass(milliseconds(2));
    EXPECT_FALSE(is_open(client)) << part;
  }
  EXPECT_EQ(requests_, 0U);
}

// A byte a second is no request either.
TEST_F(ControlSessionTest, SlowBytesBuyNoTime) {
  const UniqueFd client = connect(kUser);
  for (int i = 0; i < 4; ++i) {
    send(client, "{");
    machine_.pass(milliseconds(1100));
  }
  EXPECT_TRUE(is_open(client));
  machine_.pass(milliseconds(601));
  EXPECT_FALSE(is_open(client));
}

TEST_F(ControlSessionTest, RootsRequestMustBeThereInAMinute) {
  const UniqueFd client = connect(kRoot);
  machine_.pass(seconds(59));
  EXPECT_TRUE(is_open(client));
  machine_.pass(seconds(2));
  EXPECT_FALSE(is_open(client));
}

TEST_F(ControlSessionTest, ARequestThatComesLateButInTimeIsServed) {
  const UniqueFd client = connect(kUser);
  send(client, kRequest.substr(0, 5));
  machine_.pass(milliseconds(4900));
  send(client, kRequest.substr(5));
  EXPECT_THAT(read(client), HasSubstr("done"));
}

TEST_F(ControlSessionTest, AUsersRequestHasAtMostFourKibibytes) {
  EXPECT_THAT(reply_to(kUser, request_of(4096)), HasSubstr("done"));
  EXPECT_THAT(reply_to(kUser, request_of(4097)), Not(HasSubstr("done")));
  EXPECT_THAT(reply_to(kRoot, request_of(4097)), HasSubstr("done"));
  EXPECT_EQ(requests_, 2U);
}

TEST_F(ControlSessionTest, AMalformedRequestIsAnswered) {
  EXPECT_THAT(reply_to(kUser, "nonsense\n"), HasSubstr("malformed"));
  EXPECT_THAT(reply_to(kUser, std::string(4095, '[') + '\n'), HasSubstr("malformed"));
}

class LargeReplyTest : public ControlSessionTest {
 protected:
  awaitable<void> handle(std::shared_ptr<ControlSession> session) override {
    session_ = session;
    session->send(control::Failure{std::string(kLargeBytes, 'x')});
    co_await session->flush();
    ++flushed_;
  }
  UniqueFd client_that_asks(uid_t user) {
    UniqueFd client = connect(user);
    send(client, request_of(100));
    return client;
  }

  std::weak_ptr<ControlSession> session_;
  unsigned flushed_ = 0;
};

TEST_F(LargeReplyTest, AUserHasFiveSecondsToTakeAReply) {
  const UniqueFd client = client_that_asks(kUser);
  machine_.pass(milliseconds(4999));
  EXPECT_EQ(flushed_, 0U);
  machine_.pass(milliseconds(2));
  EXPECT_EQ(flushed_, 1U);
  EXPECT_TRUE(session_.expired());
  EXPECT_LT(read(client).size(), kLargeBytes);
  EXPECT_FALSE(is_open_);
}

TEST_F(LargeReplyTest, AClientThatTakesItInTimeGetsAllOfIt) {
  const UniqueFd client = client_that_asks(kUser);
  machine_.pass(seconds(4));
  EXPECT_GT(read(client).size(), kLargeBytes);
  EXPECT_EQ(flushed_, 1U);
  EXPECT_TRUE(session_.expired());
}

// As one whose `down` somebody has stopped.
TEST_F(LargeReplyTest, RootMayTakeItsTime) {
  const UniqueFd client = client_that_asks(kRoot);
  machine_.pass(hours(1));
  EXPECT_FALSE(session_.expired());
  EXPECT_GT(read(client).size(), kLargeBytes);
}

TEST_F(LargeReplyTest, AClientThatGoesIsForgottenAtOnce) {
  UniqueFd client = client_that_asks(kRoot);
  client.reset();
  machine_.settle();
  EXPECT_TRUE(session_.expired());
}

class ProgressTest : public ControlSessionTest {
 protected:
  static constexpr unsigned kProgress = 100'000;

  awaitable<void> handle(std::shared_ptr<ControlSession> session) override {
    for (unsigned i = 0; i < kProgress; ++i) {
      session->send(control::Progress{"/dev/nbd0", i, kProgress});
      ErrorCode ignored;
      co_await asio::post(machine_.io, into(ignored));
    }
    session->send(control::Done{});
    co_await session->flush();
  }
};

TEST_F(ProgressTest, ForAClientThatTakesNoneDoesNotPileUp) {
  const UniqueFd client = connect(kRoot);
  send(client, request_of(100));
  const std::string said = read(client);
  EXPECT_LT(std::ranges::count(said, '\n'), kProgress / 2);
  EXPECT_THAT(said, HasSubstr("progress"));
  EXPECT_THAT(said, HasSubstr("done"));
}

}  // namespace
}  // namespace vramswap
