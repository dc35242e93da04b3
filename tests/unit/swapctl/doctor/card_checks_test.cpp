#include "swapctl/doctor/card_checks.hpp"

#include <filesystem>

#include "tests/support/mebibyte.hpp"
#include "tests/unit/swapctl/doctor/finding_matcher.hpp"

namespace vramswap::swapctl {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

using CardChecks = CheckTest;

const Survey kNotAsked = fail("0000:01:00.0 sleeps, and a query would wake it");

cuda::SurveyedDevice device(const char* address = "0000:01:00.0") {
  return {.name = "NVIDIA H200",
          .pci_address = address,
          .total_bytes = 8192 * kMiB,
          .free_bytes = 7168 * kMiB};
}
Survey one(const cuda::SurveyedDevice& device) {
  return std::vector{device};
}
Card card(const char* address, bool is_awake) {
  return {.pci_address = address, .driver = "nvidia", .is_awake = is_awake};
}

TEST_F(CardChecks, NvmlIsNotAskedIfACardWouldWake) {
  files.write("dev/nvidiactl", "");
  const auto card_memory = files.path("fake_cuda");
  std::filesystem::create_directory(card_memory);
  setenv("FAKE_CUDA_DIR", card_memory.c_str(), 1);
  const auto why = [&](const std::vector<Card>& cards) {
    return survey(tree, cards).error().message;
  };
  EXPECT_EQ(why({card("0000:01:00.0", true), card("0000:02:00.0", false)}),
            "0000:02:00.0 sleeps, and a query would wake it");
  EXPECT_TRUE(survey(tree, {card("0000:01:00.0", true)}));
  EXPECT_THAT(why({}), HasSubstr("has no card"));
  EXPECT_THAT(why({{.pci_address = "0000:01:00.0", .driver = "nouveau", .is_awake = true}}),
              HasSubstr("has no card"));
  remove("dev");
  EXPECT_THAT(why({card("0000:01:00.0", true)}), HasSubstr("no /dev/nvidiactl"));
}

TEST_F(CardChecks, ComputeMode) {
  EXPECT_THAT(check_compute_mode(kNotAsked), is_unknown("sleeps", "nvidia-smi"));
  EXPECT_THAT(check_compute_mode(one(device())), is_ok("default"));
  auto exclusive = device();
  exclusive.is_exclusive = true;
  EXPECT_THAT(check_compute_mode(one(exclusive)),
              warns("never dozes", "nvidia-smi -i 0000:01:00.0 -c DEFAULT"));
  auto prohibited = device("0000:02:00.0");
  prohibited.is_prohibited = true;
  EXPECT_THAT(check_compute_mode(one(prohibited)),
              fails("0000:02:00.0 is prohibited", "nvidia-smi -i 0000:02:00.0 -c DEFAULT"));
  EXPECT_THAT(check_compute_mode(std::vector{device(), prohibited}),
              warns("0000:02:00.0 is prohibited", "--gpu"));
}

TEST_F(CardChecks, FreeMemoryComesWithTheSizeThatIsLeft) {
  EXPECT_THAT(check_free_memory(tree, kNotAsked), ElementsAre(is_unknown("sleeps", "in use")));
  EXPECT_THAT(check_free_memory(tree, one(device())),
              ElementsAre(is_ok("0000:01:00.0: 7G of 8G; size 'max' takes 6G and leaves 1G")));
  auto with_display = device();
  with_display.drives_display = true;
  EXPECT_THAT(check_free_memory(tree, one(with_display)),
              ElementsAre(is_ok("takes 4G and leaves 3G to the display")));
  files.write("sys/bus/pci/devices/0000:01:00.0/drm/card1/card1-DP-2/status", "connected\n");
  EXPECT_THAT(check_free_memory(tree, one(device())), ElementsAre(is_ok("leaves 3G")));
  auto full = device();
  full.free_bytes = 3072 * kMiB;
  EXPECT_THAT(check_free_memory(tree, one(full)), ElementsAre(warns("nothing is left", "a size")));
}

TEST_F(CardChecks, DisplayIsNamedByItsConnector) {
  const std::vector<Card> cards{card("0000:01:00.0", false)};
  files.write("sys/bus/pci/devices/0000:01:00.0/drm/card1/card1-HDMI-A-1/status", "disconnected\n");
  files.write("sys/bus/pci/devices/0000:01:00.0/drm/renderD128/dev", "226:128\n");
  EXPECT_THAT(check_display(tree, cards), is_ok("none"));
  files.write("sys/bus/pci/devices/0000:01:00.0/drm/card1/card1-HDMI-A-1/status", "connected\n");
  EXPECT_THAT(check_display(tree, cards), is_ok("HDMI-A-1 at 0000:01:00.0; leave it 3G"));
}

TEST_F(CardChecks, SuspendKeepsTheVramOrNot) {
  EXPECT_THAT(check_suspend(tree), is_ok("not on this machine"));
  files.write("sys/power/state", "freeze mem disk\n");
  EXPECT_THAT(check_suspend(tree), warns("does not save the VRAM: the", "vramswap down"));
  files.write("proc/driver/nvidia/params",
              "EnableS0ixPowerManagement: 1\nPreserveVideoMemoryAllocations: 0\n");
  EXPECT_THAT(check_suspend(tree), warns("except in S0ix", "NVreg_PreserveVideoMemoryAllocations"));
  files.write("proc/driver/nvidia/params",
              "PreserveVideoMemoryAllocations: 1\nTemporaryFilePath: \"\"\n");
  EXPECT_THAT(check_suspend(tree), is_ok("in /tmp"));
  files.write("proc/mounts", "tmpfs /tmp tmpfs rw 0 0\n");
  EXPECT_THAT(check_suspend(tree), warns("/tmp, a tmpfs", "NVreg_TemporaryFilePath"));
  files.write("proc/driver/nvidia/params",
              "PreserveVideoMemoryAllocations: 1\nTemporaryFilePath: \"/var/tmp\"\n");
  EXPECT_THAT(check_suspend(tree), is_ok("in /var/tmp"));
}

TEST_F(CardChecks, SuspendNeedsANotifierOfTheDriver) {
  files.write("sys/power/state", "mem\n");
  std::filesystem::create_directories(files.path("run/systemd/system"));
  const auto set = [&](const char* preserve, const char* notifiers) {
    files.write("proc/driver/nvidia/params",
                std::string("PreserveVideoMemoryAllocations: ") + preserve +
                    "\nUseKernelSuspendNotifiers: " + notifiers + "\n");
  };
  set("2", "0");
  EXPECT_THAT(check_suspend(tree), warns("does not save", "vramswap down"));
  set("2", "1");
  EXPECT_THAT(check_suspend(tree), is_ok());
  set("1", "0");
  EXPECT_THAT(check_suspend(tree), warns("does not suspend", "systemctl enable nvidia-suspend"));
  files.write("etc/systemd/system/systemd-suspend.service.requires/nvidia-suspend.service", "");
  EXPECT_THAT(check_suspend(tree), is_ok());
}

TEST_F(CardChecks, PersistenceIsTheDaemonsOrTheModes) {
  EXPECT_THAT(check_persistence(tree, kNotAsked), is_unknown("sleeps", "nvidia-persistenced"));
  EXPECT_THAT(check_persistence(tree, one(device())), warns("off on 0000:01:00.0", "enable"));
  auto persistent = device();
  persistent.is_persistent = true;
  EXPECT_THAT(check_persistence(tree, one(persistent)), is_ok("on"));
  files.write("run/nvidia-persistenced/socket", "");
  EXPECT_THAT(check_persistence(tree, kNotAsked), is_ok("runs"));
}

TEST_F(CardChecks, WithoutACardThereIsNothingToSay) {
  EXPECT_THAT(card_findings(tree, {}, kNotAsked), IsEmpty());
  EXPECT_EQ(card_findings(tree, {card("0000:01:00.0", true)}, one(device())).size(), 5U);
}

}  // namespace
}  // namespace vramswap::swapctl
