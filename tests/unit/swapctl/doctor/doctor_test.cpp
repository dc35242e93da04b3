// The whole command, the daemon's answers, and how findings are shown.
#include "daemon/base/json.hpp"
#include "swapctl/doctor/daemon_checks.hpp"
#include "swapctl/doctor/report.hpp"
#include "tests/unit/swapctl/command_fixture.hpp"
#include "tests/unit/swapctl/doctor/finding_matcher.hpp"

namespace vramswap::swapctl {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

struct DoctorTest : CommandTest {
  DoctorTest() {
    environment.machine_root = machine.path();
    environment.is_root = false;
  }
  // Makes a machine usable that has no card, with swap in host memory.
  void make_usable() const {
    directory.write("vramswap.conf", "backend = ram\n");
    machine.write("proc/sys/kernel/osrelease", "6.1.0\n");
    machine.write("sys/module/nbd/x", "");
    machine.write("sbin/mkswap", "");
  }

  const FakeTree machine;
};

TEST_F(DoctorTest, EndsWithTheNumbers) {
  make_usable();
  EXPECT_EQ(run({"doctor"}), kDone);
  EXPECT_THAT(out.str(), HasSubstr("ok       kernel              Linux 6.1.0\n"));
  EXPECT_THAT(out.str(), HasSubstr("\n0 failures, 1 warning, "));
  EXPECT_EQ(err.str(), "");
}

TEST_F(DoctorTest, AFailureIsTheExitCode) {
  make_usable();
  machine.write("proc/sys/kernel/osrelease", "5.10.0\n");
  EXPECT_EQ(run({"doctor"}), kFailed);
  EXPECT_THAT(out.str(), HasSubstr("failure  kernel              Linux 5.10.0\n"
                                   "         -> boot Linux 6.1 or newer\n"));
  EXPECT_EQ(run({"doctor", "--json"}), kFailed);
}

TEST_F(DoctorTest, HostMemoryNeedsNoCard) {
  make_usable();
  run({"doctor"});
  EXPECT_THAT(out.str(), Not(HasSubstr("cards")));
  directory.write("vramswap.conf", "");
  EXPECT_EQ(run({"doctor"}), kFailed);
  EXPECT_THAT(out.str(), HasSubstr("failure  cards"));
}

// By NVML of the folder that the build names.
TEST_F(DoctorTest, AskedCardsAreShownWithTheirFreeMemory) {
  const std::string card = "sys/bus/pci/devices/0000:0a:00.0";
  machine.write(card + "/vendor", "0x10de\n");
  machine.write(card + "/class", "0x030200\n");
  machine.write(card + "/power/runtime_status", "active\n");
  std::filesystem::create_symlink("drivers/nvidia", machine.path(card + "/driver"));
  machine.write("dev/nvidiactl", "");
  setenv("FAKE_CUDA_DIR", directory.path().c_str(), 1);
  setenv("FAKE_CUDA_MEMORY_MIB", "2048", 1);
  run({"doctor"});
  EXPECT_THAT(out.str(), HasSubstr("0000:0a:00.0: 2G of 2G; size 'max' takes 1G and leaves 1G\n"));
  machine.write(card + "/power/runtime_status", "suspended\n");
  run({"doctor"});
  EXPECT_THAT(out.str(), HasSubstr("0000:0a:00.0 sleeps, and a query would wake it\n"));
}

TEST_F(DoctorTest, ChangesNothing) {
  make_usable();
  // What `status` would start a daemon for.
  FakeDaemon::leave_dead_socket(directory / "worker-0");
  environment.is_root = true;
  environment.start_daemon = [](const auto&) -> Result<ControlClient> {
    ADD_FAILURE() << "started a daemon";
    return fail("no");
  };
  EXPECT_EQ(run({"doctor"}), kFailed);
  EXPECT_THAT(out.str(), HasSubstr("vramswapd has died, and its swap is up\n"
                                   "         -> run 'sudo vramswap status'"));
}

TEST_F(DoctorTest, AsksTheDaemon) {
  make_usable();
  auto status = one_segment();
  status.segments[0].lost_pages = 3;
  FakeDaemon daemon(environment.socket, [&](FakeConnection& connection) {
    connection.read_line();
    connection.reply(status);
  });
  EXPECT_EQ(run({"doctor"}), kDone);
  EXPECT_THAT(out.str(), HasSubstr("/dev/nbd0: 3 pages lost, 0 of them with wrong bytes\n"));
}

TEST(DaemonChecks, ADaemonThatIsWell) {
  EXPECT_THAT(check_daemon(std::nullopt, false), ElementsAre(is_ok("does not run")));
  EXPECT_THAT(check_daemon(CommandTest::one_segment(), true),
              ElementsAre(is_ok("0.1.0 runs, with 1 segment")));
}

TEST(DaemonChecks, ADaemonThatIsNot) {
  EXPECT_THAT(check_daemon(Error{"vramswapd has not answered for 10.0 s"}, false),
              ElementsAre(fails("has not answered", "journalctl")));
  EXPECT_THAT(check_daemon(std::nullopt, true), ElementsAre(fails("died", "sudo vramswap status")));
  auto status = CommandTest::one_segment();
  status.segments[0].state = control::kDisconnectedState;
  status.workers = {{.store = "NVIDIA H200",
                     .gpu_uuid = "",
                     .pid = 0,
                     .state = "dead",
                     .problem = "no memory",
                     .notes = {"it rains"}}};
  EXPECT_THAT(
      check_daemon(status, false),
      ElementsAre(fails("/dev/nbd0: somebody else has disconnected it", "vramswap down"),
                  fails("the worker of NVIDIA H200 cannot be replaced: no memory", "the cause"),
                  warns("NVIDIA H200: it rains", "vramswap status")));
  status = CommandTest::one_segment();
  status.segments[0].state = control::kOffState;
  EXPECT_THAT(check_daemon(status, false), ElementsAre(fails("swapped it off", "vramswap up")));
}

TEST(DaemonChecks, SettingsAreRead) {
  const TempDirectory directory;
  const ConfigPaths paths{.file = directory / "vramswap.conf",
                          .directory = directory / "vramswap.conf.d"};
  EXPECT_THAT(check_settings(read_settings(paths)), is_ok("--size"));
  directory.write("vramswap.conf", "size = 7G\npriority = 5\n");
  EXPECT_THAT(check_settings(read_settings(paths)), is_ok("size 7G, priority 5, backend vram"));
  directory.write("vramswap.conf", "size = 7X\n");
  EXPECT_THAT(check_settings(read_settings(paths)), fails("vramswap.conf:1: ", "that line"));
}

const Findings kThree{ok("a", "fine"), warning("long name", "slow", "mend it"),
                      unknown("b", "who knows", "ask")};

TEST(DoctorReport, TextHasTheAdviceBelow) {
  EXPECT_EQ(findings_text(kThree),
            "ok       a          fine\n"
            "warning  long name  slow\n"
            "         -> mend it\n"
            "unknown  b          who knows\n"
            "         -> ask\n"
            "0 failures, 1 warning, 1 unknown, 1 ok\n");
}

TEST(DoctorReport, JsonHasStableNames) {
  EXPECT_EQ(findings_json({kThree[0], kThree[1]}), R"({
  "version": 1,
  "findings": [
    {
      "name": "a",
      "result": "ok",
      "text": "fine",
      "advice": null
    },
    {
      "name": "long name",
      "result": "warning",
      "text": "slow",
      "advice": "mend it"
    }
  ],
  "failure": 0,
  "warning": 1,
  "unknown": 0,
  "ok": 1
}
)");
}

}  // namespace
}  // namespace vramswap::swapctl
