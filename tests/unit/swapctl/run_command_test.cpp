// `vramswap run`. What has to happen in an order is told by fifos: no test measures time.
#include <pthread.h>
#include <sys/stat.h>

#include <csignal>
#include <cstdlib>
#include <fstream>

#include "tests/support/mebibyte.hpp"
#include "tests/unit/swapctl/command_fixture.hpp"

namespace vramswap::swapctl {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::KilledBySignal;

const control::Lent kLent{.freed_bytes = 1024 * kMiB, .missing_bytes = 0, .problem = {}};
const control::Lent kTooLittle{
    .freed_bytes = 1024 * kMiB, .missing_bytes = 3072 * kMiB, .problem = "the time is over"};

// Two processes or threads meet there.
class Fifo {
 public:
  explicit Fifo(std::filesystem::path path) : path_(std::move(path)) {
    EXPECT_EQ(mkfifo(path_.c_str(), 0600), 0);
  }
  void signal() const { std::ofstream(path_) << "x\n"; }
  void wait() const {
    std::string line;
    std::ifstream file(path_);
    std::getline(file, line);
  }

 private:
  std::filesystem::path path_;
};

struct RunCommandTest : CommandTest {
  int run_shell(std::vector<const char*> options, const std::string& script) {
    options.insert(options.begin(), "run");
    for (const char* word : {"--", "/bin/sh", "-c"}) options.push_back(word);
    const std::string in_directory = "cd " + directory.path().string() + "; " + script;
    options.push_back(in_directory.c_str());
    return run(options);
  }
  // Takes the request; returns whether there is one.
  bool receive(FakeConnection& connection) {
    const auto decoded = control::decode_request(connection.read_line());
    if (!decoded || !std::holds_alternative<control::LendRequest>(*decoded)) return false;
    requests.push_back(std::get<control::LendRequest>(*decoded));
    return true;
  }
  // One daemon, which answers like this and waits until the client has gone.
  int run_with(const std::vector<const char*>& words, const control::Reply& reply) {
    std::filesystem::remove(environment.socket);
    FakeDaemon daemon(environment.socket, [&](FakeConnection& connection) {
      if (!receive(connection)) return;
      connection.reply(reply);
      connection.read_line();
    });
    return run(words);
  }
  bool exists(const char* name) const { return std::filesystem::exists(directory / name); }

  std::vector<control::LendRequest> requests;
};

TEST_F(RunCommandTest, WithoutADaemonItOnlyRunsTheCommand) {
  EXPECT_EQ(run_shell({}, "touch ran; exit 7"), 7);
  EXPECT_TRUE(exists("ran"));
  EXPECT_EQ(out.str(), "");
  EXPECT_EQ(err.str(), "");
  FakeDaemon::leave_dead_socket(environment.socket);
  EXPECT_EQ(run({"run", "true"}), 0);
  EXPECT_EQ(run({"run", "--vram", "4G", "--wait=3", "false"}), 1);
  EXPECT_EQ(err.str(), "");
}

TEST_F(RunCommandTest, TheWordsOfTheCommandAreNotItsOwn) {
  EXPECT_EQ(run({"run", "sh", "-c", "exit $#", "--all", "--vram", "--", "--help"}), 3);
  EXPECT_EQ(run({"run", "--", "sh", "-c", "exit $#", "--all"}), 0);
}

TEST_F(RunCommandTest, AsksForWhatItIsToldAndSaysWhatFor) {
  EXPECT_EQ(run_with({"run", "--vram", "4G", "--wait", "9", "true"}, kLent), 0);
  EXPECT_EQ(run_with({"run", "--all", "--", "/bin/true"}, kLent), 0);
  EXPECT_EQ(run_with({"run", "true"}, kLent), 0);
  ASSERT_EQ(requests.size(), 3U);
  EXPECT_EQ(requests[0].bytes, 4096 * kMiB);
  EXPECT_EQ(requests[0].wait, std::chrono::seconds(9));
  EXPECT_EQ(requests[0].purpose, "true");
  EXPECT_EQ(requests[1].bytes, std::nullopt);
  EXPECT_EQ(requests[1].wait, std::nullopt);
  EXPECT_EQ(requests[1].purpose, "/bin/true");
  EXPECT_EQ(requests[2].bytes, std::nullopt);
  for (const auto& request : requests) EXPECT_TRUE(request.is_held);
  EXPECT_EQ(err.str(), "");
}

TEST_F(RunCommandTest, ALongNameIsWithinWhatTheDaemonTakes) {
  const std::string name(200, '\xff');
  EXPECT_EQ(run_with({"run", name.c_str()}, kLent), 127);
  EXPECT_EQ(requests.size(), 1U);
}

TEST_F(RunCommandTest, TheConnectionIsOpenForAsLongAsTheCommandRuns) {
  const Fifo started(directory / "started");
  const Fifo goes_on(directory / "goes_on");
  bool was_open = false;
  bool had_ended = false;
  {
    FakeDaemon daemon(environment.socket, [&](FakeConnection& connection) {
      if (!receive(connection)) return;
      EXPECT_FALSE(exists("begun"));
      connection.reply(kLent);
      started.wait();
      was_open = connection.is_open();
      goes_on.signal();
      EXPECT_EQ(connection.read_line(), "");
      had_ended = exists("ended");
    });
    EXPECT_EQ(run_shell({}, "touch begun; echo > started; read x < goes_on; touch ended; exit 5"),
              5);
  }
  EXPECT_TRUE(was_open);
  EXPECT_TRUE(had_ended);
}

TEST_F(RunCommandTest, TheCommandDoesNotInheritTheConnection) {
  EXPECT_EQ(
      run_with({"run", "sh", "-c", "ls -l /proc/self/fd/ | grep socket: && exit 9; exit 0"}, kLent),
      0);
}

TEST_F(RunCommandTest, WithoutEnoughVramItDoesNotRunTheCommand) {
  EXPECT_EQ(run_with({"run", "touch", (directory / "ran").c_str()}, kTooLittle), kFailed);
  EXPECT_FALSE(exists("ran"));
  EXPECT_EQ(err.str(), "vramswap: 3G of VRAM could not be freed, 1G are free: the time is over\n");
}

TEST_F(RunCommandTest, GoesOnWithLessIfItIsToldTo) {
  bool was_open = false;
  {
    const Fifo started(directory / "started");
    const Fifo goes_on(directory / "goes_on");
    FakeDaemon daemon(environment.socket, [&](FakeConnection& connection) {
      if (!receive(connection)) return;
      connection.reply(kTooLittle);
      started.wait();
      was_open = connection.is_open();
      goes_on.signal();
    });
    EXPECT_EQ(run_shell({"--or-go-on"}, "echo > started; read x < goes_on; exit 5"), 5);
  }
  EXPECT_TRUE(was_open);
  EXPECT_EQ(err.str(), "vramswap: 3G of VRAM could not be freed, 1G are free: the time is over\n");
}

TEST_F(RunCommandTest, ARefusalIsAFailureUnlessItIsToldToGoOn) {
  const control::Failure failure{"only root may lend"};
  EXPECT_EQ(run_with({"run", "touch", (directory / "ran").c_str()}, failure), kFailed);
  EXPECT_FALSE(exists("ran"));
  EXPECT_EQ(err.str(), "vramswap: only root may lend\n");
  EXPECT_EQ(run_with({"run", "--or-go-on", "sh", "-c", "exit 5"}, failure), 5);
  EXPECT_EQ(err.str(), "vramswap: only root may lend\n");
}

TEST_F(RunCommandTest, WhereNoSwapIsOnVramItOnlyRunsTheCommand) {
  const Fifo gone(directory / "gone");
  FakeDaemon daemon(environment.socket, [&](FakeConnection& connection) {
    if (!receive(connection)) return;
    connection.reply(control::Lent{});
    // The connection of a client that has no loan is another user's place.
    connection.read_line();
    gone.signal();
  });
  EXPECT_EQ(run_shell({}, "read x < gone; exit 5"), 5);
  EXPECT_EQ(err.str(), "");
}

TEST_F(RunCommandTest, TheNextDaemonIsAskedAgainUntilItLends) {
  const Fifo started(directory / "started");
  const Fifo goes_on(directory / "goes_on");
  int connections = 0;
  {
    FakeDaemon daemon(
        environment.socket,
        [&](FakeConnection& connection) {
          if (!receive(connection)) return;
          ++connections;
          if (connections == 1) {
            connection.reply(kLent);
            started.wait();  // and dies
          } else if (connections == 2) {
            connection.reply(control::Failure{"an up or down is in progress"});
          } else if (connections == 3) {
            connection.reply(control::Progress{"NVIDIA H200", 1, 2});
            connection.reply(kTooLittle);
            goes_on.signal();
            EXPECT_EQ(connection.read_line(), "");
          }
        },
        3);
    EXPECT_EQ(run_shell({"--vram", "4G"}, "echo > started; read x < goes_on; exit 5"), 5);
  }
  EXPECT_EQ(connections, 3);
  ASSERT_EQ(requests.size(), 3U);
  for (const auto& request : requests) {
    EXPECT_EQ(request.bytes, 4096 * kMiB);
    EXPECT_TRUE(request.is_held);
  }
  EXPECT_EQ(err.str(), "");
}

TEST_F(RunCommandTest, ADaemonThatDiesBeforeItLendsIsAFailureOrIsFollowedByTheNext) {
  {
    const FakeDaemon dying(environment.socket,
                           [&](FakeConnection& connection) { connection.read_line(); });
    EXPECT_EQ(run({"run", "touch", (directory / "ran").c_str()}), kFailed);
  }
  EXPECT_FALSE(exists("ran"));
  EXPECT_THAT(err.str(), HasSubstr("vramswapd ended before it answered"));
  std::filesystem::remove(environment.socket);
  const Fifo goes_on(directory / "goes_on");
  {
    FakeDaemon daemon(
        environment.socket,
        [&](FakeConnection& connection) {
          if (!receive(connection) || requests.size() < 2) return;
          connection.reply(kLent);
          goes_on.signal();
          connection.read_line();
        },
        2);
    EXPECT_EQ(run_shell({"--or-go-on"}, "read x < goes_on; exit 5"), 5);
  }
  EXPECT_EQ(requests.size(), 2U);
}

class RunInterruptedTest : public RunCommandTest, public testing::WithParamInterface<int> {};
TEST_P(RunInterruptedTest, BeforeTheVramIsFreeTheCommandDoesNotRun) {
  const pthread_t client = pthread_self();
  bool hung_up = false;
  {
    FakeDaemon daemon(environment.socket, [&](FakeConnection& connection) {
      if (!receive(connection)) return;
      pthread_kill(client, GetParam());
      hung_up = connection.read_line().empty();
    });
    EXPECT_EQ(run({"run", "--or-go-on", "touch", (directory / "ran").c_str()}), kFailed);
  }
  EXPECT_TRUE(hung_up);
  EXPECT_FALSE(exists("ran"));
  EXPECT_EQ(err.str(), "vramswap: interrupted\n");
}
INSTANTIATE_TEST_SUITE_P(Signals, RunInterruptedTest, testing::Values(SIGINT, SIGTERM));

class RunSignalTest : public RunCommandTest, public testing::WithParamInterface<int> {};
TEST_P(RunSignalTest, WhatIsSentToItIsPassedOn) {
  const Fifo ready(directory / "ready");
  const pthread_t client = pthread_self();
  FakeDaemon daemon(environment.socket, [&](FakeConnection& connection) {
    if (!receive(connection)) return;
    connection.reply(kLent);
    ready.wait();
    pthread_kill(client, GetParam());
    connection.read_line();
  });
  const auto script =
      fmt::format("trap 'exit 7' {}; echo > ready; while :; do sleep 0.05; done", GetParam());
  EXPECT_EQ(run_shell({}, script), 7);
}
INSTANTIATE_TEST_SUITE_P(Signals, RunSignalTest, testing::Values(SIGINT, SIGTERM, SIGHUP, SIGQUIT));

TEST_F(RunCommandTest, AfterwardsSignalsAreAsBefore) {
  sigset_t before;
  sigset_t after;
  pthread_sigmask(SIG_SETMASK, nullptr, &before);
  EXPECT_EQ(run({"run", "sh", "-c", "exit 5"}), 5);
  pthread_sigmask(SIG_SETMASK, nullptr, &after);
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) {
    EXPECT_EQ(sigismember(&before, number), sigismember(&after, number));
  }
}

using RunCommandDeathTest = RunCommandTest;
TEST_F(RunCommandDeathTest, ItDiesOfTheSignalThatKilledTheCommand) {
  for (const int number : {SIGTERM, SIGKILL, SIGSEGV, SIGINT}) {
    const auto script = fmt::format("kill -{} $$", number);
    EXPECT_EXIT(std::exit(run_shell({}, script)), KilledBySignal(number), "");
  }
}

TEST_F(RunCommandTest, ACommandThatIsNotThereEndsWith127) {
  EXPECT_EQ(run({"run", "/nonexistent/command"}), 127);
  EXPECT_EQ(out.str(), "");
  EXPECT_EQ(err.str(),
            "vramswap: /nonexistent/command: execute: ENOENT (No such file or directory)\n");
  EXPECT_EQ(run({"run", "vramswap-no-such-command"}), 127);
}

TEST_F(RunCommandTest, ACommandThatCannotBeExecutedEndsWith126) {
  const auto file = directory.write("no-program", "");
  EXPECT_EQ(run({"run", file.c_str()}), 126);
  EXPECT_THAT(err.str(), AllOf(HasSubstr("no-program: execute: EACCES")));
  EXPECT_EQ(run({"run", directory.path().c_str()}), 126);
}

TEST_F(RunCommandTest, TheLoanEndsWhereTheCommandCannotBeExecuted) {
  bool hung_up = false;
  {
    FakeDaemon daemon(environment.socket, [&](FakeConnection& connection) {
      if (!receive(connection)) return;
      connection.reply(kLent);
      hung_up = connection.read_line().empty();
    });
    EXPECT_EQ(run({"run", "/nonexistent/command"}), 127);
  }
  EXPECT_TRUE(hung_up);
}

}  // namespace
}  // namespace vramswap::swapctl
