#include "swapctl/doctor/privilege_checks.hpp"

#include <fmt/format.h>

#include "tests/unit/swapctl/doctor/finding_matcher.hpp"

namespace vramswap::swapctl {
namespace {

constexpr bool kIsRoot = true;

struct PrivilegeChecks : CheckTest {
  void run_systemd() const {
    std::filesystem::create_directories(files.path("run/systemd/system"));
  }
  void set_own(const char* bits) const {
    files.write("proc/self/status", std::string("Name:\tx\nCapEff:\t") + bits + "\n");
  }
  void set_limits(const char* locked, const char* realtime) const {
    files.write("proc/self/limits",
                fmt::format("Limit                     Soft Limit           Hard Limit    Units\n"
                            "Max locked memory         {}                   unlimited     bytes\n"
                            "Max realtime priority     {}                   0\n",
                            locked, realtime));
  }
};

TEST_F(PrivilegeChecks, WithoutSystemdTheyAreRoots) {
  set_own("000001ffffffffff");
  EXPECT_THAT(check_capabilities(tree, !kIsRoot), is_unknown("", "sudo"));
  EXPECT_THAT(check_locked_memory(tree, !kIsRoot), is_unknown("", "sudo"));
  EXPECT_THAT(check_realtime(tree, !kIsRoot), is_unknown("", "sudo"));
  EXPECT_THAT(check_capabilities(tree, kIsRoot), is_ok());
  EXPECT_THAT(check_locked_memory(tree, kIsRoot), is_ok());
  EXPECT_THAT(check_realtime(tree, kIsRoot), is_ok());
}

TEST_F(PrivilegeChecks, UnderSystemdTheyAreThoseOfProcessOne) {
  run_systemd();
  set_own("0000000000000000");
  files.write("proc/1/status", "CapBnd:\t000001ffffffffff\n");
  EXPECT_THAT(check_capabilities(tree, !kIsRoot), is_ok());
  EXPECT_THAT(check_locked_memory(tree, !kIsRoot), is_ok());
  EXPECT_THAT(check_realtime(tree, !kIsRoot), is_ok());
  files.write("proc/1/status", "CapBnd:\t00000000a80425fb\n");  // a container
  EXPECT_THAT(check_capabilities(tree, !kIsRoot),
              fails("CAP_SYS_ADMIN, CAP_NET_ADMIN, CAP_IPC_LOCK, CAP_SYS_NICE, CAP_SYS_RESOURCE",
                    "outside of containers"));
}

TEST_F(PrivilegeChecks, LimitsMatterWithoutTheCapability) {
  set_own("0000000000000000");
  set_limits("8388608", "0");
  EXPECT_THAT(check_locked_memory(tree, kIsRoot), fails("8388608 bytes", "RLIMIT_MEMLOCK"));
  EXPECT_THAT(check_realtime(tree, kIsRoot), fails("priority 0", "RLIMIT_RTPRIO"));
  set_limits("unlimited", "1");
  EXPECT_THAT(check_locked_memory(tree, kIsRoot), is_ok("no limit"));
  EXPECT_THAT(check_realtime(tree, kIsRoot), is_ok("priority 1"));
}

TEST_F(PrivilegeChecks, RealtimeNeedsABudgetWhereGroupsHaveOne) {
  run_systemd();
  files.write("proc/sys/kernel/osrelease", "6.1.0\n");
  files.write("proc/sys/kernel/sched_rt_runtime_us", "950000\n");
  files.write("boot/config-6.1.0", "# CONFIG_RT_GROUP_SCHED is not set\n");
  EXPECT_THAT(check_realtime(tree, kIsRoot), is_ok());
  files.write("boot/config-6.1.0", "CONFIG_RT_GROUP_SCHED=y\n");
  EXPECT_THAT(check_realtime(tree, kIsRoot), warns("budget", "sched_rt_runtime_us=-1"));
  files.write("sys/fs/cgroup/cpu/system.slice/cpu.rt_runtime_us", "0\n");
  EXPECT_THAT(check_realtime(tree, kIsRoot), warns("budget", "sched_rt_runtime_us=-1"));
  files.write("sys/fs/cgroup/cpu/system.slice/cpu.rt_runtime_us", "950000\n");
  EXPECT_THAT(check_realtime(tree, kIsRoot), is_ok());
  remove("sys");
  files.write("proc/sys/kernel/sched_rt_runtime_us", "-1\n");
  EXPECT_THAT(check_realtime(tree, kIsRoot), is_ok());
}

TEST_F(PrivilegeChecks, ControlGroupsAboveCountAsWell) {
  EXPECT_THAT(check_control_group(tree), is_ok());
  files.write("proc/self/cgroup", "0::/user.slice/session-1.scope\n");
  files.write("sys/fs/cgroup/user.slice/session-1.scope/memory.max", "max\n");
  files.write("sys/fs/cgroup/user.slice/memory.max", "4294967296\n");
  EXPECT_THAT(check_control_group(tree), is_ok());
  files.write("sys/fs/cgroup/user.slice/memory.max", "268435456\n");
  EXPECT_THAT(check_control_group(tree),
              warns("/user.slice takes 256M", "raise /sys/fs/cgroup/user.slice/memory.max"));
  run_systemd();
  EXPECT_THAT(check_control_group(tree), is_ok());
  files.write("sys/fs/cgroup/system.slice/memory.max", "268435456\n");
  EXPECT_THAT(check_control_group(tree), warns("/system.slice takes", "raise"));
}

}  // namespace
}  // namespace vramswap::swapctl
