#include "swapctl/doctor/service_checks.hpp"

#include "tests/unit/swapctl/doctor/finding_matcher.hpp"

namespace vramswap::swapctl {
namespace {

struct ServiceChecks : CheckTest {
  void run_systemd() const {
    std::filesystem::create_directories(files.path("run/systemd/system"));
  }
};

TEST_F(ServiceChecks, UnitIsInstalledWhereSystemdRuns) {
  EXPECT_THAT(check_unit(tree), is_ok("systemd does not run"));
  run_systemd();
  EXPECT_THAT(check_unit(tree), warns("not installed", "cmake --install"));
  files.write("usr/local/lib/systemd/system/vramswap.service", "[Service]\n");
  EXPECT_THAT(check_unit(tree), is_ok("/usr/local/lib/systemd/system/vramswap.service"));
}

TEST_F(ServiceChecks, DescriptorStoreHoldsEnough) {
  EXPECT_THAT(check_fd_store(tree), warns("without systemd", "under systemd"));
  run_systemd();
  EXPECT_THAT(check_fd_store(tree), is_ok("transient"));
  files.write("usr/lib/systemd/system/vramswap.service", "[Service]\nFileDescriptorStoreMax=256\n");
  EXPECT_THAT(check_fd_store(tree), is_ok("256"));
  files.write("etc/systemd/system/vramswap.service.d/override.conf",
              "[Service]\nFileDescriptorStoreMax=3\n");
  EXPECT_THAT(check_fd_store(tree), warns("is 3", "FileDescriptorStoreMax=256"));
  remove("etc");
  files.write("usr/lib/systemd/system/vramswap.service", "[Service]\n");
  EXPECT_THAT(check_fd_store(tree), warns("is 0", "FileDescriptorStoreMax=256"));
}

TEST_F(ServiceChecks, UdevRuleIsInForce) {
  EXPECT_THAT(check_udev_rule(tree), is_ok("udev does not run"));
  std::filesystem::create_directories(files.path("run/udev"));
  EXPECT_THAT(check_udev_rule(tree), warns("not installed", "cmake --install"));
  files.write("lib/udev/rules.d/60-0-vramswap.rules", "SUBSYSTEM==\"block\"\n");
  EXPECT_THAT(check_udev_rule(tree), is_ok("/lib/udev/rules.d/60-0-vramswap.rules"));
  link("etc/udev/rules.d/60-0-vramswap.rules", "/dev/null");
  EXPECT_THAT(check_udev_rule(tree), warns("not installed", ""));
}

TEST_F(ServiceChecks, ProtectedServicesHaveNoSwap) {
  EXPECT_THAT(check_protected_services(tree), is_unknown("control group", "cgroup v2"));
  files.write("sys/fs/cgroup/init.scope/memory.swap.max", "0\n");
  files.write("sys/fs/cgroup/system.slice/ssh.service/memory.swap.max", "0\n");
  EXPECT_THAT(check_protected_services(tree), is_ok("init.scope, ssh.service"));
  files.write("sys/fs/cgroup/system.slice/dbus.service/memory.swap.max", "max\n");
  EXPECT_THAT(check_protected_services(tree),
              warns("dbus.service", "echo 0 > /sys/fs/cgroup/system.slice/dbus.service/"));
  run_systemd();
  EXPECT_THAT(check_protected_services(tree), warns("dbus.service", "set-property dbus.service"));
}

TEST_F(ServiceChecks, InitIsNotInSwap) {
  EXPECT_THAT(check_init(tree), is_unknown("", "/proc"));
  files.write("proc/1/status", "Name:\tsystemd\nVmSwap:\t       0 kB\n");
  EXPECT_THAT(check_init(tree), is_ok());
  files.write("proc/1/status", "VmSwap:\t     128 kB\n");
  EXPECT_THAT(check_init(tree), warns("128 kB", "swapoff"));
  run_systemd();
  EXPECT_THAT(check_init(tree), warns("128 kB", "daemon-reexec"));
}

TEST_F(ServiceChecks, Selinux) {
  EXPECT_THAT(check_selinux(tree), is_ok());
  files.write("sys/fs/selinux/enforce", "0");
  EXPECT_THAT(check_selinux(tree), is_ok());
  files.write("sys/fs/selinux/enforce", "1");
  EXPECT_THAT(check_selinux(tree), warns("descriptors", "ausearch"));
}

TEST_F(ServiceChecks, Apparmor) {
  EXPECT_THAT(check_apparmor(tree), is_ok("off"));
  files.write("sys/module/apparmor/parameters/enabled", "Y\n");
  EXPECT_THAT(check_apparmor(tree), is_unknown("on", "sudo"));
  files.write("sys/kernel/security/apparmor/profiles", "man_filter (enforce)\n");
  EXPECT_THAT(check_apparmor(tree), is_ok("without a profile"));
  files.write("sys/kernel/security/apparmor/profiles", "/usr/sbin/vramswapd (enforce)\n");
  EXPECT_THAT(check_apparmor(tree), warns("profile for vramswap", "aa-disable"));
}

}  // namespace
}  // namespace vramswap::swapctl
