#include "swapctl/doctor/driver_checks.hpp"

#include "cuda/driver.hpp"
#include "tests/unit/swapctl/command_fixture.hpp"
#include "tests/unit/swapctl/doctor/finding_matcher.hpp"

namespace vramswap::swapctl {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

struct DriverChecks : CheckTest {
  void add_card(const std::string& address, const std::string& driver,
                const std::string& status) const {
    const std::string device = "sys/bus/pci/devices/" + address;
    files.write(device + "/vendor", "0x10de\n");
    files.write(device + "/class", "0x030000\n");
    files.write(device + "/power/runtime_status", status + "\n");
    if (!driver.empty()) link(device + "/driver", "../../../../bus/pci/drivers/" + driver);
  }
  void load_module(const std::string& version) const {
    files.write("proc/driver/nvidia/version",
                "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  " + version +
                    "  Release Build  (root@host)\nGCC version:  gcc version 12.2.0\n");
  }
};

TEST_F(DriverChecks, CardsAreNvidiasDisplayControllers) {
  EXPECT_THAT(find_cards(tree), IsEmpty());
  EXPECT_THAT(check_cards({}), fails("no NVIDIA GPU", "--backend ram"));
  add_card("0000:01:00.0", "nvidia", "active");
  add_card("0000:02:00.0", "nvidia", "suspended");
  add_card("0000:03:00.0", "", "active");
  files.write("sys/bus/pci/devices/0000:01:00.1/vendor", "0x10de\n");  // its sound
  files.write("sys/bus/pci/devices/0000:01:00.1/class", "0x040300\n");
  files.write("sys/bus/pci/devices/0000:00:02.0/vendor", "0x8086\n");
  files.write("sys/bus/pci/devices/0000:00:02.0/class", "0x030000\n");
  const auto cards = find_cards(tree);
  ASSERT_EQ(cards.size(), 3U);
  EXPECT_EQ(cards[0].driver, "nvidia");
  EXPECT_TRUE(cards[0].is_awake);
  EXPECT_FALSE(cards[1].is_awake);
  EXPECT_EQ(cards[2].driver, "");
  EXPECT_THAT(check_cards(cards),
              is_ok("0000:01:00.0 (awake), 0000:02:00.0 (asleep), 0000:03:00.0 (no driver)"));
}

TEST_F(DriverChecks, ACardOfAnotherDriverIsNoUse) {
  add_card("0000:01:00.0", "", "active");
  EXPECT_THAT(check_cards(find_cards(tree)), fails("no driver", "modprobe nvidia"));
  add_card("0000:01:00.0", "nouveau", "active");
  EXPECT_THAT(check_cards(find_cards(tree)), fails("0000:01:00.0 (nouveau)", "instead of nouveau"));
}

TEST_F(DriverChecks, ModuleIsNewEnough) {
  EXPECT_THAT(check_driver(tree), fails("not loaded", "modprobe nvidia"));
  load_module("580.159.04");
  EXPECT_THAT(check_driver(tree), is_ok("580.159.04"));
  load_module("390.157");
  EXPECT_THAT(check_driver(tree), fails("390.157", "470 or newer"));
}

TEST_F(DriverChecks, LibcudaIsOfTheModulesVersion) {
  EXPECT_THAT(check_libcuda(tree, cuda::kCudaLibrary), fails("no libcuda.so.1", "install"));
  files.write("usr/lib/x86_64-linux-gnu/nvidia/current/libcuda.so.580.159.04", "");
  link("usr/lib/x86_64-linux-gnu/libcuda.so.1", "nvidia/current/libcuda.so.580.159.04");
  EXPECT_THAT(check_libcuda(tree, cuda::kCudaLibrary),
              is_unknown("cannot be compared", "nvidia-smi"));
  load_module("580.159.04");
  EXPECT_THAT(check_libcuda(tree, cuda::kCudaLibrary),
              is_ok("/usr/lib/x86_64-linux-gnu/libcuda.so.1, 580.159.04"));
  load_module("575.57.08");
  EXPECT_THAT(check_libcuda(tree, cuda::kCudaLibrary),
              fails("is 580.159.04, the nvidia module 575.57.08", "reboot"));
}

TEST_F(DriverChecks, LibcudaIsSoughtWhereTheBuildNamesAFolderOnlyThere) {
  const std::string library = "/opt/driver/libcuda.so.1";
  files.write("usr/lib64/libcuda.so.1", "");
  EXPECT_THAT(check_libcuda(tree, library), fails("no /opt/driver/libcuda.so.1", "install"));
  files.write("opt/driver/libcuda.so.1", "");
  EXPECT_THAT(check_libcuda(tree, library), is_unknown(library, "nvidia-smi"));
}

TEST_F(DriverChecks, UvmIsLoadedOrCanBe) {
  EXPECT_THAT(check_uvm(tree), warns("not loaded", "modprobe nvidia-uvm"));
  files.write("usr/bin/nvidia-modprobe", "");
  EXPECT_THAT(check_uvm(tree), is_ok("nvidia-modprobe"));
  files.write("sys/module/nvidia_uvm/x", "");
  EXPECT_THAT(check_uvm(tree), is_ok("loaded"));
}

TEST_F(DriverChecks, ExportIsKnownWhereSwapIsUpAndUnderWsl) {
  files.write("proc/sys/kernel/osrelease", "6.6.87\n");
  EXPECT_THAT(check_export(tree, std::nullopt), is_unknown("wakes the GPU", "vramswap up"));
  EXPECT_THAT(check_export(tree, CommandTest::one_segment()), is_ok("works"));
  auto ram = CommandTest::one_segment();
  ram.segments[0].backend = control::Backend::ram;
  EXPECT_THAT(check_export(tree, ram), is_unknown("", ""));
  files.write("proc/sys/kernel/osrelease", "6.6.87.2-microsoft-standard-WSL2\n");
  EXPECT_THAT(check_export(tree, std::nullopt), fails("WSL2", "another GPU"));
}

TEST_F(DriverChecks, InapplicableChecksAreLeftOut) {
  EXPECT_THAT(driver_findings(tree, {}, std::nullopt), ElementsAre(fails("no NVIDIA GPU", "")));
  add_card("0000:01:00.0", "nvidia", "active");
  EXPECT_EQ(driver_findings(tree, find_cards(tree), std::nullopt).size(), 5U);
  files.write("proc/sys/kernel/osrelease", "6.6.87.2-microsoft-standard-WSL2\n");
  EXPECT_THAT(driver_findings(tree, {}, std::nullopt), ElementsAre(fails("WSL2", "")));
}

}  // namespace
}  // namespace vramswap::swapctl
