// Workers replaced by another program under load: same process, same sockets, no byte lost.
#include <gmock/gmock.h>

#include <thread>

#include "tests/load/worker_fixture.hpp"

namespace vramswap::load {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

std::string program_of(pid_t pid) {
  return std::filesystem::read_symlink("/proc/" + std::to_string(pid) + "/exe");
}

struct Replaced : testing::Test {
  TempDirectory directory;
  const std::string worker_socket = directory / "worker-0";
  ServedSegment served{{.worker_socket = worker_socket}};
};

TEST_F(Replaced, UnderLoadNoRequestIsLostOrAnsweredTwice) {
  LoadResult result;
  std::jthread load([&] { result = served.run(seconds(4)); });
  for (int round = 0; round < 10; ++round) {
    std::this_thread::sleep_for(milliseconds(200));
    const auto replaced = served.worker().replace(test_worker());
    EXPECT_TRUE(replaced) << "round " << round << ": " << replaced.error().message;
    EXPECT_EQ(served.worker().state, WorkerState::serving);
  }
  load.join();
  expect_uninterrupted(result);
  expect_uninterrupted(served.verify());
  EXPECT_TRUE(served.worker().ended.empty());
  EXPECT_EQ(served.worker().wait(milliseconds(0)), std::nullopt);
}

TEST_F(Replaced, ItIsTheOtherProgramThatServes) {
  const std::string copy = directory / "another_worker";
  std::filesystem::copy_file(test_worker(), copy);
  ASSERT_EQ(program_of(served.worker().pid()), test_worker());
  const auto replaced = served.worker().replace(copy);
  ASSERT_TRUE(replaced) << replaced.error().message;
  EXPECT_EQ(program_of(served.worker().pid()), copy);
  expect_uninterrupted(served.run(milliseconds(200)));
}

TEST_F(Replaced, TheDescriptionIsKnownAfterwards) {
  ASSERT_TRUE(served.worker().describe("a \"text\"\nof two lines"));
  ASSERT_TRUE(served.worker().replace(test_worker()));
  const auto adopted = served.worker().adopt();
  ASSERT_TRUE(adopted) << adopted.error().message;
  EXPECT_EQ(adopted->description, "a \"text\"\nof two lines");
  ASSERT_EQ(adopted->segments.size(), 1U);
  EXPECT_EQ(adopted->segments[0].connections.size(), kThreads);
  // It still listens on its worker socket.
  served.worker().close_channel();
  const auto reattached = served.worker().reattach(worker_socket);
  ASSERT_TRUE(reattached) << reattached.error().message;
  EXPECT_TRUE(served.worker().adopt());
}

TEST_F(Replaced, AProgramThatIsNotThereChangesNothing) {
  LoadResult result;
  std::jthread load([&] { result = served.run(seconds(2)); });
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(milliseconds(100));
    const auto replaced = served.worker().replace(directory / "no_such_program");
    ASSERT_FALSE(replaced);
    EXPECT_THAT(replaced.error().message, HasSubstr("ENOENT"));
  }
  load.join();
  expect_uninterrupted(result);
  expect_uninterrupted(served.verify());
  // It does not prevent the next one.
  EXPECT_TRUE(served.worker().replace(test_worker()));
  expect_uninterrupted(served.verify());
  EXPECT_TRUE(served.worker().ended.empty());
}

// The next program would begin in the middle of a message.
TEST_F(Replaced, NotInTheMiddleOfAMessage) {
  ASSERT_TRUE(send_header(served.sockets()[0].get(),
                          {.command = Command::write, .cookie = 9, .length = sizeof(Page)}));
  const auto refused = served.worker().replace(test_worker());
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("busy"));
  Page zeros{};
  ASSERT_TRUE(send_page(served.sockets()[0].get(), zeros, false));
  const auto reply = receive_reply(served.sockets()[0].get());
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->error, 0U);
  EXPECT_EQ(reply->cookie, 9U);
  EXPECT_TRUE(served.worker().replace(test_worker()));
  expect_uninterrupted(served.verify());
}

TEST_F(Replaced, AWorkerWithoutAStoreDeviceIsNotReplaced) {
  auto fresh = WorkerProcess::spawn({test_worker(), "--unhardened"});
  ASSERT_TRUE(fresh);
  const auto refused = fresh->replace(test_worker());
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("not started"));
}

}  // namespace
}  // namespace vramswap::load
