#include "swapctl/doctor/kernel_checks.hpp"

#include "tests/unit/swapctl/doctor/finding_matcher.hpp"

namespace vramswap::swapctl {
namespace {

using KernelChecks = CheckTest;

TEST_F(KernelChecks, KernelIsAtLeastTheOldestThatWorks) {
  EXPECT_THAT(check_kernel_version(tree), is_unknown("osrelease", "/proc"));
  files.write("proc/sys/kernel/osrelease", "6.1.0-13-amd64\n");
  EXPECT_THAT(check_kernel_version(tree), is_ok("Linux 6.1.0-13-amd64"));
  files.write("proc/sys/kernel/osrelease", "5.15.0\n");
  EXPECT_THAT(check_kernel_version(tree), fails("Linux 5.15.0", "Linux 6.1 or newer"));
  files.write("proc/sys/kernel/osrelease", "7.0.1\n");
  EXPECT_THAT(check_kernel_version(tree), is_ok());
}

TEST_F(KernelChecks, NbdModuleIsLoadedOrCanBe) {
  files.write("proc/sys/kernel/osrelease", "6.1.0\n");
  EXPECT_THAT(check_nbd_module(tree), fails("no modules of the running kernel", "reboot"));
  files.write("lib/modules/6.1.0/modules.dep", "kernel/fs/fuse/fuse.ko.xz:\n");
  EXPECT_THAT(check_nbd_module(tree), fails("/lib/modules/6.1.0", "extra modules"));
  files.write("lib/modules/6.1.0/modules.dep", "kernel/drivers/block/nbd.ko.xz:\n");
  EXPECT_THAT(check_nbd_module(tree), is_ok("not loaded"));
  files.write("lib/modules/6.1.0/modules.dep", "fuse.ko:\nnbd.ko:\n");
  EXPECT_THAT(check_nbd_module(tree), is_ok("not loaded"));
  files.write("lib/modules/6.1.0/modules.builtin", "kernel/drivers/block/nbd.ko\n");
  EXPECT_THAT(check_nbd_module(tree), is_ok("built in"));
  files.write("sys/module/nbd/parameters/max_part", "0\n");
  EXPECT_THAT(check_nbd_module(tree), is_ok("loaded"));
}

TEST_F(KernelChecks, SecureBootMattersWhereAModuleIsNotLoaded) {
  constexpr const char* kVariable =
      "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
  EXPECT_THAT(check_secure_boot(tree), is_ok("off"));
  files.write(kVariable, std::string_view("\6\0\0\0\0", 5));
  EXPECT_THAT(check_secure_boot(tree), is_ok("off"));
  files.write(kVariable, std::string_view("\6\0\0\0\1", 5));
  EXPECT_THAT(check_secure_boot(tree), warns("nvidia is not loaded", "sign it"));
  files.write("sys/module/nvidia/version", "");
  EXPECT_THAT(check_secure_boot(tree), warns("nbd is not loaded", "sign it"));
  files.write("sys/module/nbd/x", "");
  EXPECT_THAT(check_secure_boot(tree), is_ok("on"));
}

TEST_F(KernelChecks, AContainerIsNoPlaceForIt) {
  EXPECT_THAT(check_container(tree), is_ok("none"));
  files.write("proc/1/environ", std::string_view("HOME=/\0mycontainer=no\0", 22));
  EXPECT_THAT(check_container(tree), is_ok("none"));
  files.write("proc/1/environ", std::string_view("HOME=/\0container=lxc\0", 21));
  EXPECT_THAT(check_container(tree), fails("process 1", "outside of containers"));
  remove("proc");
  for (const char* mark : {"run/.containerenv", ".dockerenv", "run/systemd/container"}) {
    files.write(mark, "");
    EXPECT_THAT(check_container(tree), fails(mark, "outside of containers"));
    remove(mark);
  }
}

TEST_F(KernelChecks, NetworkNamespaceIsThatOfProcessOne) {
  link("proc/self/ns/net", "net:[4026531840]");
  EXPECT_THAT(check_network_namespace(tree), is_unknown("process 1", "sudo"));
  link("proc/1/ns/net", "net:[4026531840]");
  EXPECT_THAT(check_network_namespace(tree), is_ok());
  link("proc/self/ns/net", "net:[4026532000]");
  EXPECT_THAT(check_network_namespace(tree), warns("nbd", "network namespaces"));
}

TEST_F(KernelChecks, ProgramsAreWhereTheDaemonLooks) {
  EXPECT_THAT(check_programs(tree), fails("mkswap", "util-linux"));
  files.write("sbin/mkswap", "");
  EXPECT_THAT(check_programs(tree), fails("modprobe", "kmod"));
  files.write("sys/module/nbd/x", "");
  EXPECT_THAT(check_programs(tree), is_ok("/sbin/mkswap"));
  remove("sys");
  files.write("usr/sbin/modprobe", "");
  EXPECT_THAT(check_programs(tree), is_ok());
}

}  // namespace
}  // namespace vramswap::swapctl
