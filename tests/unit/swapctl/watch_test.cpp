#include "swapctl/watch.hpp"

#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <csignal>

#include "daemon/base/json.hpp"
#include "tests/unit/swapctl/command_fixture.hpp"

namespace vramswap::swapctl {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr milliseconds kInterval{20};

// Seconds of 500 reads each.
control::Status status_at(unsigned second) {
  auto status = CommandTest::one_segment();
  auto& worker = status.workers.emplace_back();
  worker.pid = 77;
  worker.store = "NVIDIA H200";
  worker.state = "serving";
  worker.io = control::IoStats{.counted_for = std::chrono::seconds(second),
                               .reads = {.requests = 500U * second, .pages = 4000U * second}};
  return status;
}

struct WatchTest : CommandTest {
  // Answers so many looks; a signal comes with the last one, which may end the watch before that is
  // shown, or after it nothing is up.
  int watch(int looks, bool json = false, int signal = SIGINT) {
    const pthread_t client = pthread_self();
    unsigned second = 0;
    const auto serve = [&](FakeConnection& connection) {
      connection.read_line();
      ++second;
      const bool is_last = second == static_cast<unsigned>(looks);
      if (is_last && signal != 0) pthread_kill(client, signal);
      connection.reply(is_last && signal == 0 ? control::Status{} : status_at(second));
    };
    FakeDaemon daemon(environment.socket, serve, looks);
    return watch_status(environment, kInterval, json);
  }
};

TEST_F(WatchTest, TotalsComeFirstThenRates) {
  const auto before = std::chrono::steady_clock::now();
  EXPECT_EQ(watch(3), kDone);
  EXPECT_GE(std::chrono::steady_clock::now() - before, 2 * kInterval);
  EXPECT_EQ(err.str(), "");
  const std::string text = out.str();
  EXPECT_THAT(text, Not(HasSubstr("\033")));
  EXPECT_THAT(text, HasSubstr(", every 0.02 s\nNAME "));
  // An empty line before each further one.
  const auto second = text.find("\n\n");
  ASSERT_NE(second, std::string::npos);
  EXPECT_THAT(text.substr(0, second), HasSubstr("reads        500   4000"));
  EXPECT_THAT(text.substr(0, second), Not(HasSubstr("REQUESTS/S")));
  EXPECT_THAT(text.substr(second), HasSubstr("  reads          500     4000  16.4"));
  EXPECT_THAT(text.substr(second), Not(HasSubstr("REQUESTS ")));
}

TEST_F(WatchTest, OnATerminalEachLookGoesOverTheLast) {
  environment.out_is_terminal = true;
  EXPECT_EQ(watch(3), kDone);
  EXPECT_THAT(out.str(), StartsWith("\033[H"));
  EXPECT_THAT(out.str(), HasSubstr("\033[K\n\033[J\033[H"));
  EXPECT_THAT(out.str(), testing::EndsWith("\033[K\n\033[J"));
}

TEST_F(WatchTest, JsonIsOneLineALook) {
  EXPECT_EQ(watch(3, true), kDone);
  std::istringstream lines(out.str());
  std::vector<nlohmann::json> looks;
  for (std::string line; std::getline(lines, line);) looks.push_back(parse_json(line));
  ASSERT_GE(looks.size(), 2U);
  EXPECT_TRUE(looks[0].at("workers").at(0).at("rates").is_null());
  EXPECT_EQ(looks[0].at("workers").at(0).at("io").at("reads").at("requests"), 500);
  const auto& rates = looks[1].at("workers").at(0).at("rates");
  EXPECT_EQ(rates.at("reads").at("requests_per_second"), 500);
  EXPECT_EQ(rates.at("interval_us"), 1000000);
}

TEST_F(WatchTest, TermEndsItAsWell) {
  EXPECT_EQ(watch(2, false, SIGTERM), kDone);
  EXPECT_EQ(err.str(), "");
}

// Not at its interval's end, and not when the daemon answers.
TEST_F(WatchTest, ASignalEndsItAtOnce) {
  const pthread_t client = pthread_self();
  FakeDaemon daemon(environment.socket, [&](FakeConnection& connection) {
    connection.read_line();
    pthread_kill(client, SIGINT);
    connection.read_line();
  });
  EXPECT_EQ(watch_status(environment, std::chrono::hours(1), false), kDone);
  EXPECT_EQ(out.str(), "");
  EXPECT_EQ(err.str(), "");
}

TEST_F(WatchTest, EndsAsStatusDoesWhereNothingIsUp) {
  EXPECT_EQ(watch(3, false, 0), kNothingUp);
  EXPECT_THAT(out.str(), HasSubstr("REQUESTS/S"));
  EXPECT_EQ(err.str(), "vramswap: nothing is up\n");
}

TEST_F(WatchTest, WithoutADaemonNothingIsUp) {
  EXPECT_EQ(run({"status", "--watch"}), kNothingUp);
  EXPECT_EQ(out.str(), "");
  EXPECT_EQ(err.str(), "vramswap: nothing is up\n");
  EXPECT_EQ(run({"status", "--watch", "5", "--json"}), kNothingUp);
  EXPECT_TRUE(parse_json(out.str()).at("daemon").is_null());
  EXPECT_EQ(std::ranges::count(out.str(), '\n'), 1);
}

TEST_F(WatchTest, ADaemonThatFailsEndsIt) {
  FakeDaemon daemon(environment.socket, [&](FakeConnection& connection) {
    connection.read_line();
    connection.reply(control::Failure{"out of order"});
  });
  EXPECT_EQ(run({"status", "--watch=5"}), kFailed);
  EXPECT_EQ(err.str(), "vramswap: out of order\n");
}

TEST_F(WatchTest, EndsWhenTheReaderHasGone) {
  std::ofstream full("/dev/full");
  const Environment to_full{.out = full,
                            .err = err,
                            .socket = environment.socket,
                            .start_daemon = environment.start_daemon};
  FakeDaemon daemon(environment.socket, [&](FakeConnection& connection) {
    connection.read_line();
    connection.reply(status_at(1));
  });
  const char* const words[] = {"status", "--watch"};
  EXPECT_EQ(swapctl::run(words, commands(), to_full), kFailed);
  EXPECT_EQ(err.str(), "vramswap: standard output: cannot be written\n");
}

}  // namespace
}  // namespace vramswap::swapctl
