#include "daemon/handover/worker_socket.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

#include "daemon/handover/channel.hpp"

namespace vramswap::worker_socket {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class Rendezvous : public testing::Test {
 protected:
  Rendezvous() {
    std::string name = "/tmp/vramswap-test-XXXXXX";
    directory_ = mkdtemp(name.data());
    socket_ = path(directory_, 0);
  }
  ~Rendezvous() override { std::filesystem::remove_all(directory_); }

  std::string directory_;
  std::string socket_;
};

TEST_F(Rendezvous, TheTwoMeetOnAChannel) {
  const auto listener = listen(socket_).value();
  auto connection = connect(socket_);
  ASSERT_TRUE(connection) << connection.error().message;
  EXPECT_EQ(connection->worker, getpid());
  // Sent before it is taken up.
  ASSERT_TRUE(send_packet(connection->channel.get(), "who is there?"));
  const UniqueFd accepted = accept(listener.get());
  ASSERT_TRUE(accepted);
  EXPECT_EQ(receive_packet(accepted.get()).value().value().text, "who is there?");
  // Packets stay apart and descriptors go along, as on any channel.
  const int fds[] = {STDERR_FILENO};
  ASSERT_TRUE(send_packet(accepted.get(), "one", fds));
  ASSERT_TRUE(send_packet(accepted.get(), "two"));
  EXPECT_EQ(receive_packet(connection->channel.get()).value().value().fds.size(), 1U);
  EXPECT_EQ(receive_packet(connection->channel.get()).value().value().text, "two");
}

TEST_F(Rendezvous, NoChildInheritsAnyEnd) {
  const auto listener = listen(socket_).value();
  const auto connection = connect(socket_);
  ASSERT_TRUE(connection);
  const UniqueFd accepted = accept(listener.get());
  for (const int fd : {listener.get(), connection->channel.get(), accepted.get()}) {
    EXPECT_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
  }
}

TEST_F(Rendezvous, OnlyTheSameUserMayConnect) {
  const mode_t before = umask(0);
  const auto listener = listen(socket_);
  umask(before);
  ASSERT_TRUE(listener);
  struct stat about {};
  ASSERT_EQ(stat(socket_.c_str(), &about), 0);
  EXPECT_EQ(about.st_mode, S_IFSOCK | 0600U);
}

TEST_F(Rendezvous, ASocketThatADeadWorkerLeftIsReplaced) {
  listen(socket_).value().reset();
  ASSERT_TRUE(std::filesystem::exists(socket_));
  EXPECT_EQ(connect(socket_).error().code, ECONNREFUSED);
  const auto listener = listen(socket_);
  ASSERT_TRUE(listener) << listener.error().message;
  EXPECT_TRUE(connect(socket_));
}

TEST_F(Rendezvous, ADeadListenerIsToldFromAMissingSocket) {
  EXPECT_EQ(connect(socket_).error().code, ENOENT);
  auto listener = listen(socket_).value();
  // One that waits to be accepted hears of the end, too.
  const auto connection = connect(socket_).value();
  listener.reset();
  const auto end = receive_packet(connection.channel.get());
  EXPECT_TRUE(!end || !*end);
  EXPECT_EQ(connect(socket_).error().code, ECONNREFUSED);
  EXPECT_THAT(connect(socket_).error().message, HasSubstr(socket_ + ": connect: ECONNREFUSED"));
}

// A supervisor must know which process to watch: not itself, nor one that inherited the socket.
TEST_F(Rendezvous, ThePeerIsTheListeningProcess) {
  const pid_t worker = fork();
  if (worker == 0) {
    const auto listener = listen(socket_);
    pause();
    _exit(0);
  }
  Result<WorkerConnection> connection = connect(socket_);
  for (int i = 0; i < 1000 && !connection; ++i) {
    usleep(5000);
    connection = connect(socket_);
  }
  kill(worker, SIGKILL);
  waitpid(worker, nullptr, 0);
  ASSERT_TRUE(connection) << connection.error().message;
  EXPECT_EQ(connection->worker, worker);
}

TEST_F(Rendezvous, WithoutAClientNothingIsAccepted) {
  const auto listener = listen(socket_).value();
  fcntl(listener.get(), F_SETFL, O_NONBLOCK);
  EXPECT_FALSE(accept(listener.get()));
  EXPECT_EQ(errno, EAGAIN);
}

// A worker that stands still does not make the supervisor wait.
TEST_F(Rendezvous, AFullBacklogIsAnError) {
  const auto listener = listen(socket_).value();
  std::vector<WorkerConnection> waiting;
  auto connection = connect(socket_);
  for (; connection && waiting.size() < 10; connection = connect(socket_)) {
    waiting.push_back(*std::move(connection));
  }
  ASSERT_FALSE(connection);
  EXPECT_EQ(connection.error().code, EAGAIN);
  EXPECT_THAT(connection.error().message, HasSubstr("the worker does not answer"));
}

TEST_F(Rendezvous, FindsWorkersAndNothingElse) {
  EXPECT_THAT(find(directory_), IsEmpty());
  EXPECT_THAT(find(directory_ + "/nonexistent"), IsEmpty());
  const auto second = listen(path(directory_, 1)).value();
  listen(path(directory_, 0)).value().reset();
  std::ofstream(directory_ + "/control") << "";
  std::ofstream(directory_ + "/lock") << "";
  EXPECT_THAT(find(directory_), ElementsAre(path(directory_, 0), path(directory_, 1)));
}

TEST_F(Rendezvous, AFailedOperationIsNamed) {
  const std::string too_long = directory_ + '/' + std::string(200, 'x');
  EXPECT_EQ(listen(too_long).error().code, ENAMETOOLONG);
  EXPECT_EQ(connect(too_long).error().code, ENAMETOOLONG);
  EXPECT_EQ(listen(directory_ + "/nonexistent/worker-0").error().code, ENOENT);
  std::filesystem::create_directory(socket_);
  const auto on_a_directory = listen(socket_);
  ASSERT_FALSE(on_a_directory);
  EXPECT_THAT(on_a_directory.error().message, HasSubstr("unlink"));
}

}  // namespace
}  // namespace vramswap::worker_socket
