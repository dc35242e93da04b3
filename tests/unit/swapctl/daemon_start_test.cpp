#include "swapctl/daemon_start.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <optional>
#include <sstream>

#include "swapctl/interruption.hpp"
#include "swapctl/spawn.hpp"
#include "tests/support/temp_directory.hpp"
#include "tests/unit/swapctl/fake_daemon.hpp"

namespace vramswap::swapctl {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

std::string contents(const std::filesystem::path& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

struct DaemonStartTest : testing::Test {
  Error start_error() {
    const auto client = start_daemon(socket, start);
    EXPECT_FALSE(client);
    return client ? Error{} : client.error();
  }
  // A systemd that runs. Its programs note their arguments.
  void install_systemctl(std::string_view script) {
    std::filesystem::create_directory(start.systemd.directory);
    start.systemd.systemctl = write_noting_program("systemctl", script);
  }
  void install_systemd_run(std::string_view script) {
    start.systemd.systemd_run = write_noting_program("systemd-run", script);
  }
  std::string write_noting_program(std::string_view name, std::string_view script) {
    const std::string asked = (directory / "asked").string();
    return directory.write_program(name,
                                   fmt::format("#!/bin/sh\necho \"$@\" >>{}\n{}", asked, script));
  }

  TempDirectory directory;
  const std::filesystem::path socket = directory / "control";
  DaemonStart start{.systemd = {.directory = directory / "systemd",
                                .systemctl = "/nonexistent/systemctl",
                                .systemd_run = "/nonexistent/systemd-run"},
                    .directories = {directory / "none", directory / "bin"},
                    .limit = std::chrono::seconds(5),
                    .poll_interval = std::chrono::milliseconds(5)};
};

TEST_F(DaemonStartTest, ADaemonThatIsNotInstalledIsNamed) {
  EXPECT_THAT(start_error().message, HasSubstr("vramswapd is not installed"));
  std::filesystem::create_directories(directory / "bin/vramswapd");
  EXPECT_THAT(start_error().message, HasSubstr("vramswapd is not installed"));
}

TEST_F(DaemonStartTest, RunsDetachedAndWaitsForTheSocket) {
  directory.write_program(
      "bin/vramswapd",
      "#!/bin/sh\nset -e\ncd $(dirname $0)\n"
      "echo \"$@\" >words\n"
      "ls -l /proc/self/fd | sed -n 's/.* \\([0-9]* ->\\)/\\1/p' >fds\n"
      "cut -d' ' -f1,6 /proc/$$/stat | sed \"s/^$$ //\" >session; echo $$ >pid\n"
      "touch ready\nwhile [ -e ready ]; do sleep 0.01; done\n");
  std::optional<FakeDaemon> daemon;
  std::thread later([&] {
    while (!std::filesystem::exists(directory / "bin/ready")) std::this_thread::yield();
    daemon.emplace(socket, [](FakeConnection& connection) { connection.read_line(); });
  });
  const auto client = start_daemon(socket, start);
  later.join();
  ASSERT_TRUE(client) << client.error().message;
  EXPECT_EQ(contents(directory / "bin/words"), "--detached\n");
  EXPECT_EQ(contents(directory / "bin/session"), contents(directory / "bin/pid"));
  EXPECT_THAT(contents(directory / "bin/fds"), HasSubstr("0 -> /dev/null"));
}

// Even where the unit is installed: that one serves swap.
TEST_F(DaemonStartTest, OneForAScratchSegmentIsOurOwn) {
  install_systemctl("exit 0\n");
  start.purpose = Purpose::scratch;
  directory.write_program("bin/vramswapd", "#!/bin/sh\necho \"$@\" >$(dirname $0)/words\nexit 1\n");
  EXPECT_EQ(start_error().message, "");
  EXPECT_EQ(contents(directory / "bin/words"), "--detached --scratch\n");
  EXPECT_FALSE(std::filesystem::exists(directory / "asked"));
}

TEST_F(DaemonStartTest, BlockedSignalsReachTheDaemon) {
  const auto interruption = Interruption::create();
  ASSERT_TRUE(interruption);
  directory.write_program("bin/vramswapd", "#!/bin/sh\nkill -TERM $$\nexit 0\n");
  EXPECT_EQ(start_error().message, "vramswapd did not start (killed by SIGTERM)");
}

TEST_F(DaemonStartTest, ADaemonThatExitsHasSaidWhy) {
  directory.write_program("bin/vramswapd", "#!/bin/sh\nexit 1\n");
  EXPECT_EQ(start_error().message, "");
}

TEST_F(DaemonStartTest, ADaemonThatIsKilledIsReported) {
  directory.write_program("bin/vramswapd", "#!/bin/sh\nkill -KILL $$\n");
  EXPECT_EQ(start_error().message, "vramswapd did not start (killed by SIGKILL)");
}

TEST_F(DaemonStartTest, AnOddExitStatusIsReported) {
  directory.write_program("bin/vramswapd", "#!/bin/sh\nexit 0\n");
  EXPECT_EQ(start_error().message, "vramswapd did not start (exit status 0)");
}

TEST_F(DaemonStartTest, AProgramThatCannotBeExecutedIsReported) {
  directory.write_program("bin/vramswapd", "#!/nonexistent/shell\n");
  EXPECT_THAT(start_error().message, HasSubstr("exec: ENOENT"));
}

TEST_F(DaemonStartTest, ASilentDaemonIsEnded) {
  directory.write_program("bin/vramswapd", "#!/bin/sh\ntrap 'echo >" +
                                               (directory / "ended").string() +
                                               "; exit' TERM\nwhile :; do sleep 0.01; done\n");
  start.limit = std::chrono::milliseconds(200);
  EXPECT_THAT(start_error().message, HasSubstr("did not answer"));
  while (!std::filesystem::exists(directory / "ended")) std::this_thread::yield();
}

// One that takes over live swap would take it down on SIGTERM.
TEST_F(DaemonStartTest, ASilentDaemonIsLeftAloneWhereThereIsSwapToTakeOver) {
  FakeDaemon::leave_dead_socket(directory / "worker-0");
  directory.write_program("bin/vramswapd",
                          "#!/bin/sh\ncd $(dirname $0)\ntrap 'echo >ended; exit' TERM\n"
                          "touch ready\nwhile [ -e ready ]; do sleep 0.01; done\ntouch unharmed\n");
  start.limit = std::chrono::seconds(1);
  EXPECT_THAT(start_error().message, HasSubstr("did not answer"));
  std::filesystem::remove(directory / "bin/ready");
  while (!std::filesystem::exists(directory / "bin/unharmed")) {
    ASSERT_FALSE(std::filesystem::exists(directory / "bin/ended"));
    std::this_thread::yield();
  }
}

// Two at once: our daemon finds the other's lock and goes, the other's answers.
TEST_F(DaemonStartTest, AnotherDaemonMayAnswer) {
  directory.write_program("bin/vramswapd", "#!/bin/sh\ntouch $(dirname $0)/gone\nexit 1\n");
  FakeDaemon other(socket, [](FakeConnection& connection) { connection.read_line(); });
  EXPECT_TRUE(start_daemon(socket, start));
  while (!std::filesystem::exists(directory / "bin/gone")) std::this_thread::yield();
}

TEST_F(DaemonStartTest, SystemdStartsAnInstalledUnit) {
  install_systemctl("exit 0\n");
  FakeDaemon daemon(socket, [](FakeConnection& connection) { connection.read_line(); });
  const auto client = start_daemon(socket, start);
  ASSERT_TRUE(client) << client.error().message;
  EXPECT_EQ(contents(directory / "asked"),
            "status --no-pager --lines=0 vramswap.service\n"
            "start vramswap.service\n");
}

TEST_F(DaemonStartTest, AUnitThatFailsIsReportedWithItsLog) {
  install_systemctl("case $1 in status) exit 3 ;; start) exit 1 ;; esac\n");
  EXPECT_EQ(start_error().message,
            "systemctl start vramswap.service failed (exit status 1): see journalctl -u "
            "vramswap.service");
}

// In the control group of its caller it would die with the caller's session.
TEST_F(DaemonStartTest, WithoutTheUnitItRunsInATransientOne) {
  install_systemctl("[ $1 != status ] || exit 4\n");
  install_systemd_run("exit 0\n");
  const auto program = directory.write_program("bin/vramswapd", "#!/bin/sh\nkill -TERM $$\n");
  FakeDaemon daemon(socket, [](FakeConnection& connection) { connection.read_line(); });
  const auto client = start_daemon(socket, start);
  ASSERT_TRUE(client) << client.error().message;
  const std::string asked = contents(directory / "asked");
  EXPECT_THAT(asked, StartsWith("status --no-pager --lines=0 vramswap.service\n"
                                "set-property --runtime init.scope MemorySwapMax=0\n"
                                "--quiet --collect --unit=vramswap.service --property="));
  EXPECT_THAT(asked, HasSubstr(" --property=FileDescriptorStoreMax=256 "));
  EXPECT_THAT(asked, EndsWith(" " + program.string() + "\n"));
}

TEST_F(DaemonStartTest, ATransientUnitThatFailsIsReportedWithItsLog) {
  install_systemctl("exit 4\n");
  install_systemd_run("exit 1\n");
  directory.write_program("bin/vramswapd", "#!/bin/sh\n");
  EXPECT_EQ(start_error().message,
            "systemd-run --unit vramswap.service failed (exit status 1): see journalctl -u "
            "vramswap.service");
}

TEST_F(DaemonStartTest, ATransientUnitNeedsTheProgram) {
  install_systemctl("exit 4\n");
  EXPECT_THAT(start_error().message, HasSubstr("vramswapd is not installed"));
}

// Nothing is started then: the unit may be installed, and its daemon about to start.
TEST_F(DaemonStartTest, ASystemctlThatFailsIsNoMissingUnit) {
  install_systemctl("exit 1\n");
  install_systemd_run("exit 0\n");
  directory.write_program("bin/vramswapd", "#!/bin/sh\ntouch $(dirname $0)/started\nexit 1\n");
  EXPECT_EQ(start_error().message,
            "systemctl status vramswap.service failed (exit status 1): systemd does not answer");
  EXPECT_EQ(contents(directory / "asked"), "status --no-pager --lines=0 vramswap.service\n");
  EXPECT_FALSE(std::filesystem::exists(directory / "bin/started"));
}

TEST_F(DaemonStartTest, ASystemctlThatIsNotThereIsReported) {
  std::filesystem::create_directory(start.systemd.directory);
  EXPECT_THAT(start_error().message, HasSubstr("/nonexistent/systemctl: exec: ENOENT"));
}

// Settings of the unit that systemd-run takes: all that do not say what to run, and are known to
// the oldest systemd that we support.
std::vector<std::string> settings_of_unit() {
  std::vector<std::string> settings;
  std::ifstream unit(VRAMSWAP_UNIT);
  for (std::string line; std::getline(unit, line);) {
    if (line.starts_with('#') || line.find('=') == std::string::npos) continue;
    const auto name = line.substr(0, line.find('='));
    if (name == "Documentation" || name == "ExecStart" || name == "ExecReload") continue;
    if (name == "RestartSteps" || name == "RestartMaxDelaySec") continue;
    settings.push_back(line == "Type=notify" ? "Type=" VRAMSWAP_SERVICE_TYPE : line);
  }
  return settings;
}

TEST(TransientUnit, HasTheSettingsOfTheInstalledOne) {
  EXPECT_THAT(settings_of_unit(), testing::SizeIs(testing::Gt(10)));
  EXPECT_THAT(transient_unit_properties(), testing::UnorderedElementsAreArray(settings_of_unit()));
}

TEST(DaemonDirectories, BesideUsFirst) {
  const auto directories = daemon_directories();
  ASSERT_FALSE(directories.empty());
  EXPECT_EQ(directories.front(), std::filesystem::read_symlink("/proc/self/exe").parent_path());
}

}  // namespace
}  // namespace vramswap::swapctl
