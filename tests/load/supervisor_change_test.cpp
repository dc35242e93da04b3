// Workers whose supervisor has gone: they keep serving, and accept the next one.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <thread>

#include "daemon/handover/channel.hpp"
#include "tests/load/worker_fixture.hpp"

namespace vramswap::load {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::UnorderedElementsAre;

struct SupervisorChange : testing::Test {
  TempDirectory directory;
  const std::string worker_socket = directory / "worker-0";
};

std::vector<std::pair<std::uint32_t, unsigned>> named(const messages::Adopted::Segment& segment) {
  std::vector<std::pair<std::uint32_t, unsigned>> names;
  for (const auto& name : segment.connections) names.emplace_back(name.id, name.thread);
  return names;
}

TEST_F(SupervisorChange, TheNextSupervisorFindsEverythingDuringIo) {
  ServedSegment served({.worker_socket = worker_socket});
  std::string text = "nobody has described anything yet";
  ASSERT_EQ(served.worker().adopt().value().description, "");
  LoadResult result;
  std::jthread load([&] { result = served.run(seconds(3)); });
  for (int round = 0; round < 10; ++round) {
    text = "description " + std::to_string(round);
    EXPECT_TRUE(served.worker().describe(text));
    served.worker().close_channel();
    std::this_thread::sleep_for(milliseconds(100));
    const auto reattached = served.worker().reattach(worker_socket);
    ASSERT_TRUE(reattached) << reattached.error().message;
    const auto adopted = served.worker().adopt();
    ASSERT_TRUE(adopted) << adopted.error().message;
    EXPECT_EQ(adopted->description, text);
    EXPECT_EQ(adopted->state, WorkerState::serving);
    ASSERT_EQ(adopted->segments.size(), 1U);
    EXPECT_EQ(adopted->segments[0].id, 0U);
    EXPECT_THAT(named(adopted->segments[0]),
                UnorderedElementsAre(std::pair(1U, 0U), std::pair(2U, 1U)));
  }
  load.join();
  expect_uninterrupted(result);
  expect_uninterrupted(served.verify());
}

TEST_F(SupervisorChange, TheHandoverHasTheMemoryItself) {
  ServedSegment served({.worker_socket = worker_socket});
  expect_uninterrupted(served.run(milliseconds(300)));
  served.worker().close_channel();
  ASSERT_TRUE(served.worker().reattach(worker_socket));
  const auto fds = served.worker().hand_over(0);
  ASSERT_TRUE(fds) << fds.error().message;
  EXPECT_FALSE(served.worker().hand_over(7));
  const auto inode = [](const UniqueFd& fd) {
    struct stat about {};
    EXPECT_EQ(fstat(fd.get(), &about), 0);
    return about.st_ino;
  };
  EXPECT_EQ(inode((*fds)[0]), inode(served.page_map()));
  EXPECT_EQ(inode((*fds)[1]), inode(served.store()));
}

// The next supervisor sees in Adopted that a connection has ended while there was no supervisor.
TEST_F(SupervisorChange, ConnectionsThatEndedMeanwhileAreNotNamed) {
  ServedSegment served({.worker_socket = worker_socket});
  served.worker().close_channel();
  shutdown(served.sockets()[0].get(), SHUT_RDWR);
  std::this_thread::sleep_for(milliseconds(200));
  ASSERT_TRUE(served.worker().reattach(worker_socket));
  const auto adopted = served.worker().adopt();
  ASSERT_TRUE(adopted) << adopted.error().message;
  ASSERT_EQ(adopted->segments.size(), 1U);
  EXPECT_THAT(named(adopted->segments[0]), UnorderedElementsAre(std::pair(2U, 1U)));
}

// The kernel may have dropped its sockets: the bytes are needed until it sends NBD_CMD_DISC.
TEST_F(SupervisorChange, WithoutSocketsItWaitsForTheNextSupervisor) {
  ServedSegment served({.worker_socket = worker_socket});
  expect_uninterrupted(served.run(milliseconds(300)));
  served.worker().close_channel();
  served.disconnect();
  EXPECT_EQ(served.worker().wait(seconds(2)), std::nullopt);
  const auto reattached = served.worker().reattach(worker_socket);
  ASSERT_TRUE(reattached) << reattached.error().message;
  const auto adopted = served.worker().adopt();
  ASSERT_TRUE(adopted) << adopted.error().message;
  ASSERT_EQ(adopted->segments.size(), 1U);
  EXPECT_TRUE(adopted->segments[0].connections.empty());
  served.connect();
  expect_uninterrupted(served.verify());
}

TEST_F(SupervisorChange, WithoutSocketsAndWorkerSocketItEnds) {
  ServedSegment served({});
  served.worker().close_channel();
  served.disconnect();
  EXPECT_EQ(served.worker().wait(seconds(10)), 0);
}

TEST_F(SupervisorChange, AfterTheKernelsGoodByeItEnds) {
  ServedSegment served({.worker_socket = worker_socket});
  served.worker().close_channel();
  ASSERT_TRUE(send_header(served.sockets()[0].get(), {.command = Command::disconnect}));
  EXPECT_FALSE(receive_reply(served.sockets()[0].get()));
  EXPECT_EQ(served.worker().wait(seconds(1)), std::nullopt) << "one is still open";
  ASSERT_TRUE(send_header(served.sockets()[1].get(), {.command = Command::disconnect}));
  EXPECT_EQ(served.worker().wait(seconds(10)), 0);
}

// The worker learns of both in one turn: it must not continue to wait for the next supervisor.
TEST_F(SupervisorChange, AGoodByeAtTheEndOfTheSupervisorEndsIt) {
  for (int round = 0; round < 20; ++round) {
    ServedSegment served({.worker_socket = directory / ("worker-" + std::to_string(round))});
    ASSERT_EQ(kill(served.worker().pid(), SIGSTOP), 0);
    served.worker().close_channel();
    for (const auto& socket : served.sockets()) {
      ASSERT_TRUE(send_header(socket.get(), {.command = Command::disconnect}));
    }
    ASSERT_EQ(kill(served.worker().pid(), SIGCONT), 0);
    ASSERT_EQ(served.worker().wait(seconds(10)), 0) << "round " << round;
  }
}

// Two supervisors are none of its business: the second is heard once the first has gone.
TEST_F(SupervisorChange, ASecondSupervisorWaitsForTheEndOfTheFirst) {
  ServedSegment served({.worker_socket = worker_socket});
  UniqueFd first = duplicate(served.worker().channel());
  ASSERT_TRUE(served.worker().reattach(worker_socket));
  ASSERT_TRUE(send_packet(served.worker().channel(), messages::encode(messages::Adopt{})));
  pollfd wait{served.worker().channel(), POLLIN, 0};
  EXPECT_EQ(poll(&wait, 1, 300), 0);
  first.reset();
  EXPECT_EQ(poll(&wait, 1, 10'000), 1);
}

}  // namespace
}  // namespace vramswap::load
