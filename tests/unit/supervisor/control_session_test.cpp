// What one client of the control socket may take, and for how long.
#include <sys/syscall.h>
#include <unistd.h>

#include <thread>

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

class GroupTest : public ControlSessionTest {
 protected:
  awaitable<void> handle(std::shared_ptr<ControlSession> session) override {
    for (const gid_t group : asked_) is_in_.push_back(session->is_in_group(group));
    session->send(control::Done{});
    co_return;
  }
  std::vector<bool> ask_for(const UniqueFd& client, std::vector<gid_t> groups) {
    asked_ = std::move(groups);
    is_in_.clear();
    send(client, kRequest);
    return is_in_;
  }
  static std::vector<gid_t> own_groups() {
    std::vector<gid_t> groups(static_cast<std::size_t>(getgroups(0, nullptr)));
    EXPECT_GE(getgroups(static_cast<int>(groups.size()), groups.data()), 0);
    groups.push_back(getegid());
    return groups;
  }

 private:
  std::vector<gid_t> asked_;
  std::vector<bool> is_in_;
};

TEST_F(GroupTest, TheKernelNamesTheGroupsOfTheClient) {
  const auto groups = own_groups();
  gid_t other = 0;
  while (std::ranges::count(groups, other) > 0) ++other;
  auto asked = groups;
  asked.push_back(other);
  auto expected = std::vector<bool>(groups.size(), true);
  expected.push_back(false);
  EXPECT_EQ(ask_for(connect(kUser), asked), expected);
}

// The system call changes the groups of one thread.
TEST_F(GroupTest, TheyAreThoseThatTheClientHadWhenItConnected) {
  std::vector<gid_t> groups;
  for (gid_t group = 70'000; group < 71'000; ++group) groups.push_back(group);
  UniqueFd client;
  bool may = false;
  std::thread([&] {
    may = syscall(SYS_setgroups, groups.size(), groups.data()) == 0;
    client = connect_only();
    if (may) syscall(SYS_setgroups, 0, nullptr);
  }).join();
  if (!may) GTEST_SKIP() << "needs CAP_SETGID";
  machine_.settle();
  EXPECT_EQ(ask_for(client, {70'000, 70'999, 71'000, 69'999, getegid()}),
            (std::vector<bool>{true, true, false, false, true}));
}

class LargeReplyTest : public ControlSessionTest {
 protected:
  awaitable<void> handle(std::shared_ptr<ControlSession> session) override {
    session_ = session;
    if (is_watched_) session->watch([this] { ++closed_; });
    session->send(control::Failure{std::string(kLargeBytes, 'x')});
    co_await session->flush();
    ++flushed_;
    if (stops_watching_) session->stop_watching();
  }
  UniqueFd client_that_asks(uid_t user) {
    UniqueFd client = connect(user);
    send(client, request_of(100));
    return client;
  }

  std::weak_ptr<ControlSession> session_;
  unsigned flushed_ = 0;
  bool is_watched_ = false;
  bool stops_watching_ = false;
  unsigned closed_ = 0;
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

// Its loan ends, for one.
TEST_F(LargeReplyTest, AClientThatIsOutOfTimeCountsAsGone) {
  is_watched_ = true;
  const UniqueFd client = client_that_asks(kUser);
  machine_.pass(milliseconds(4999));
  EXPECT_EQ(closed_, 0U);
  machine_.pass(milliseconds(2));
  EXPECT_EQ(closed_, 1U);
  EXPECT_TRUE(session_.expired());
}

TEST_F(LargeReplyTest, AClientIsWatchedUntilItGoesOrTheWatchEnds) {
  is_watched_ = true;
  for (const bool stops : {false, true}) {
    closed_ = 0;
    stops_watching_ = stops;
    UniqueFd client = client_that_asks(kUser);
    EXPECT_GT(read(client).size(), kLargeBytes);
    EXPECT_EQ(session_.expired(), stops);
    client.reset();
    machine_.settle();
    EXPECT_EQ(closed_, stops ? 0U : 1U);
    EXPECT_TRUE(session_.expired());
  }
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
