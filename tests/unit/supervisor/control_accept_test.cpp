// Which clients are let in at the control socket.
#include <sys/resource.h>
#include <sys/stat.h>

#include "tests/unit/supervisor/control_fixture.hpp"

namespace vramswap {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class ControlAcceptTest : public ControlTest {};

TEST_F(ControlAcceptTest, AUserHasFourPlacesAndAFifthClientIsClosedAtOnce) {
  const auto clients = connect(kUser, 5);
  EXPECT_EQ(open_among(clients), 4U);
  EXPECT_FALSE(is_open(clients.back()));
  expect_served(kUser + 1);
  expect_served(kRoot);
}

TEST_F(ControlAcceptTest, AClosedClientIsNotHeard) {
  const auto clients = connect(kUser, 4);
  const UniqueFd another = connect_only();
  // Before the server has seen it.
  ::send(another.get(), kRequest.data(), kRequest.size(), MSG_NOSIGNAL);
  machine_.settle();
  EXPECT_EQ(read(another), "");
  EXPECT_FALSE(is_open_);
  EXPECT_EQ(requests_, 0U);
}

TEST_F(ControlAcceptTest, AllUsersTogetherHaveThirtyTwoPlacesAndRootHasItsOwn) {
  std::vector<std::vector<UniqueFd>> clients;
  unsigned open = 0;
  for (uid_t user = kUser; user < kUser + 20; ++user) {
    open += open_among(clients.emplace_back(connect(user, 4)));
  }
  EXPECT_EQ(open, 32U);
  EXPECT_FALSE(gets_in(kUser + 100));
  const auto of_root = connect(kRoot, 70);
  EXPECT_EQ(open_among(of_root), 64U);
}

TEST_F(ControlAcceptTest, RootTakesNoOtherUsersPlace) {
  const auto of_root = connect(kRoot, 64);
  expect_served(kUser);
}

TEST_F(ControlAcceptTest, APlaceIsFreeWhenItsClientHasGone) {
  auto clients = connect(kUser, 4);
  for (int i = 0; i < 100; ++i) {
    clients.pop_back();
    machine_.settle();
    clients.push_back(connect(kUser));
    EXPECT_EQ(open_among(clients), 4U);
  }
}

TEST_F(ControlAcceptTest, APlaceIsFreeWhenItsClientHasBeenAnswered) {
  for (int i = 0; i < 100; ++i) expect_served(kUser);
}

TEST_F(ControlAcceptTest, AFloodLeavesNoDescriptorsBehind) {
  const auto lowest_free = [] { return UniqueFd(dup(0)).get(); };
  const int before = lowest_free();
  for (int i = 0; i < 1000; ++i) connect(kUser);
  EXPECT_EQ(lowest_free(), before);
}

// The kernel gives the lowest descriptor that is free: one in the upper half says that the lower
// half is taken.
TEST_F(ControlAcceptTest, UsersLeaveTheUpperHalfOfTheDescriptorsAlone) {
  rlimit limit{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  const auto lowest_free = static_cast<rlim_t>(UniqueFd(dup(0)).get());
  // The client's end takes that one.
  const rlimit low{.rlim_cur = 2 * (lowest_free + 1), .rlim_max = limit.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
  EXPECT_FALSE(gets_in(kUser));
  EXPECT_TRUE(gets_in(kRoot));
  machine_.settle();
  const rlimit enough{.rlim_cur = 2 * (lowest_free + 2), .rlim_max = limit.rlim_max};
  setrlimit(RLIMIT_NOFILE, &enough);
  EXPECT_TRUE(gets_in(kUser));
  setrlimit(RLIMIT_NOFILE, &limit);
}

TEST_F(ControlAcceptTest, WithoutDescriptorsOrMemoryItTriesAgainUntilItSucceeds) {
  for (const int code : {EMFILE, ENFILE, ENOBUFS, ENOMEM, EPERM}) {
    accept_fails_with_ = code;
    const UniqueFd client = connect(kUser);
    accepts_ = 0;
    machine_.pass(seconds(10));
    EXPECT_GE(accepts_, 90U) << code;
    EXPECT_LE(accepts_, 110U) << code;
    accept_fails_with_ = 0;
    machine_.pass(milliseconds(100));
    send(client, kRequest);
    EXPECT_THAT(read(client), testing::HasSubstr("done")) << code;
  }
}

TEST_F(ControlAcceptTest, AClientThatLeavesAtOnceDelaysNoOther) {
  for (const int code : {ECONNABORTED, EINTR, EAGAIN}) {
    accept_fails_with_ = code;
    user_ = kUser;
    const UniqueFd client = connect_only();
    for (accepts_ = 0; accepts_ == 0; machine_.io.poll_one()) machine_.io.restart();
    accept_fails_with_ = 0;
    machine_.settle();
    send(client, kRequest);
    EXPECT_THAT(read(client), testing::HasSubstr("done")) << code;
  }
}

TEST_F(ControlAcceptTest, AnUnknownUserIsNotLetIn) {
  auto calls = ControlServer::Calls::of_kernel();
  calls.user_of = [](int) -> Result<uid_t> { return errno_error("test", "SO_PEERCRED", EINVAL); };
  server_.reset();  // it removes its socket
  server_ = ControlServer::listen(
                machine_.interfaces, path_,
                [this](control::Request, std::shared_ptr<ControlSession> session) {
                  return handle(std::move(session));
                },
                std::move(calls))
                .value();
  EXPECT_FALSE(gets_in(kRoot));
}

TEST_F(ControlAcceptTest, TheKernelNamesTheUser) {
  std::array<int, 2> ends{};
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
  const UniqueFd one(ends[0]);
  const UniqueFd other(ends[1]);
  EXPECT_EQ(ControlServer::Calls::of_kernel().user_of(one.get()).value(), geteuid());
}

TEST_F(ControlAcceptTest, AfterCloseNoClientGetsInAndEarlierOnesStay) {
  const UniqueFd client = connect(kUser);
  server_->close();
  machine_.settle();
  struct stat status {};
  EXPECT_NE(stat(path_.c_str(), &status), 0);
  send(client, kRequest);
  EXPECT_THAT(read(client), testing::HasSubstr("done"));
}

TEST_F(ControlAcceptTest, CloseInThePauseAfterAnErrorIsTheEnd) {
  accept_fails_with_ = EMFILE;
  const UniqueFd client = connect(kUser);
  server_->close();
  accepts_ = 0;
  machine_.pass(seconds(1));
  EXPECT_EQ(accepts_, 0U);
}

}  // namespace
}  // namespace vramswap
