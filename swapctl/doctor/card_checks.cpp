#include "swapctl/doctor/card_checks.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "cuda/advice.hpp"
#include "cuda/driver.hpp"
#include "daemon/control/headroom.hpp"
#include "daemon/control/size.hpp"

namespace vramswap::swapctl {
namespace {

constexpr const char* kParameters = "/proc/driver/nvidia/params";

// The connectors of a card that have a display. The kernel knows them without asking the card.
std::vector<std::string> connected_displays(const Tree& tree, const std::string& pci_address) {
  std::vector<std::string> connectors;
  const std::string drm = fmt::format("/sys/bus/pci/devices/{}/drm", pci_address);
  for (const auto& card : tree.names(drm)) {
    const std::string directory = fmt::format("{}/{}", drm, card);
    for (const auto& name : tree.names(directory)) {
      if (tree.text(fmt::format("{}/{}/status", directory, name)) != "connected") continue;
      // "card1-HDMI-A-1"
      connectors.push_back(name.substr(std::min(name.size(), name.find('-') + 1)));
    }
  }
  return connectors;
}

bool parameter_is_on(const Tree& tree, const char* name) {
  const auto value = tree.field(kParameters, name);
  return value && *value != "0";
}

// 2, the default since 595: if the kernel's notifiers tell the driver of a suspend.
bool saves_vram(const Tree& tree) {
  const auto value = tree.field(kParameters, "PreserveVideoMemoryAllocations");
  return value == "1" || (value == "2" && parameter_is_on(tree, "UseKernelSuspendNotifiers"));
}

// Whether the kernel or NVIDIA's unit tells the driver of a suspend. Otherwise a driver that must
// save the VRAM refuses to suspend.
bool is_told_of_suspend(const Tree& tree) {
  if (parameter_is_on(tree, "UseKernelSuspendNotifiers")) return true;
  if (!tree.exists("/run/systemd/system")) return true;  // by a script of unknown name
  std::vector<std::string> directories;
  for (const char* units :
       {"/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"}) {
    directories.push_back(fmt::format("{}/systemd-suspend.service.requires", units));
    directories.push_back(fmt::format("{}/systemd-suspend.service.wants", units));
  }
  return tree.find(directories, "nvidia-suspend.service").has_value();
}

// The folder in which nvidia-suspend.service and the kernel's notifiers save VRAM.
std::string save_folder(const Tree& tree) {
  const auto value = tree.field(kParameters, "TemporaryFilePath").value_or("");
  const std::string path(trimmed(value));
  const bool is_given = path.size() > 2 && path.starts_with('"');
  return is_given ? path.substr(1, path.size() - 2) : "/tmp";
}

bool is_tmpfs(const Tree& tree, const std::string& folder) {
  return tree.text("/proc/mounts").contains(fmt::format(" {} tmpfs ", folder));
}

}  // namespace

Survey survey(const Tree& tree, const std::vector<Card>& cards) {
  if (std::ranges::count(cards, "nvidia", &Card::driver) == 0) {
    return fail("the NVIDIA driver has no card");
  }
  if (!tree.exists("/dev/nvidiactl")) return fail("there is no /dev/nvidiactl");
  for (const Card& card : cards) {
    if (card.driver == "nvidia" && !card.is_awake) {
      return fail(fmt::format("{} sleeps, and a query would wake it", card.pci_address));
    }
  }
  auto devices = cuda::survey_devices(cuda::driver_library("libnvidia-ml.so.1"));
  if (!devices) return devices.error();
  return *std::move(devices);
}

Finding check_compute_mode(const Survey& survey) {
  constexpr const char* kName = "compute mode";
  if (!survey) return unknown(kName, survey.error().message, cuda::kComputeModeAdvice);
  const auto prohibited = std::ranges::find(*survey, true, &cuda::SurveyedDevice::is_prohibited);
  if (prohibited != survey->end()) {
    const bool has_other =
        std::ranges::count(*survey, false, &cuda::SurveyedDevice::is_prohibited) > 0;
    const std::string text = fmt::format("{} is prohibited", prohibited->pci_address);
    const std::string advice = fmt::format("nvidia-smi -i {} -c DEFAULT", prohibited->pci_address);
    if (has_other) return warning(kName, text, advice + ", or choose another card by --gpu");
    return failure(kName, text, advice);
  }
  for (const auto& device : *survey) {
    if (!device.is_exclusive) continue;
    return warning(kName,
                   fmt::format("{} is exclusive: the worker never dozes, and one that dies may "
                               "find the card taken",
                               device.pci_address),
                   fmt::format("nvidia-smi -i {} -c DEFAULT", device.pci_address));
  }
  return ok(kName, "default");
}

Findings check_free_memory(const Tree& tree, const Survey& survey) {
  constexpr const char* kName = "free VRAM";
  if (!survey) {
    return {unknown(kName, survey.error().message,
                    "try again when the GPU is in use, or run nvidia-smi, which wakes it")};
  }
  Findings findings;
  for (const auto& device : *survey) {
    const bool has_display =
        device.drives_display || !connected_displays(tree, device.pci_address).empty();
    const std::uint64_t headroom = control::headroom_bytes(has_display);
    const auto shown = [](std::uint64_t bytes) { return control::format_bytes(bytes); };
    const std::string free = fmt::format("{}: {} of {}", device.pci_address,
                                         shown(device.free_bytes), shown(device.total_bytes));
    if (device.free_bytes <= headroom) {
      findings.push_back(
          warning(kName,
                  fmt::format("{}; size 'max' leaves {} to others, so nothing is left", free,
                              shown(headroom)),
                  "end programs that use the GPU, or give a size"));
    } else {
      findings.push_back(ok(kName, fmt::format("{}; size 'max' takes {} and leaves {}{}", free,
                                               shown(device.free_bytes - headroom), shown(headroom),
                                               has_display ? " to the display" : "")));
    }
  }
  return findings;
}

Finding check_display(const Tree& tree, const std::vector<Card>& cards) {
  constexpr const char* kName = "display";
  std::vector<std::string> words;
  for (const Card& card : cards) {
    for (const auto& connector : connected_displays(tree, card.pci_address)) {
      words.push_back(fmt::format("{} at {}", connector, card.pci_address));
    }
  }
  if (words.empty()) return ok(kName, "none at an NVIDIA card");
  return ok(kName, fmt::format("{}; leave it {}", fmt::join(words, ", "),
                               control::format_bytes(control::kDisplayHeadroomBytes)));
}

Finding check_suspend(const Tree& tree) {
  constexpr const char* kName = "suspend";
  if (!tree.text("/sys/power/state").contains("mem")) return ok(kName, "not on this machine");
  const bool has_s0ix = parameter_is_on(tree, "EnableS0ixPowerManagement");
  if (!saves_vram(tree)) {
    return warning(kName,
                   fmt::format("the driver does not save the VRAM{}: the swapped pages would be "
                               "lost",
                               has_s0ix ? ", except in S0ix" : ""),
                   "run 'vramswap down' before each suspend, or load nvidia with "
                   "NVreg_PreserveVideoMemoryAllocations=1");
  }
  if (!is_told_of_suspend(tree)) {
    return warning(kName,
                   "the driver saves the VRAM, but nvidia-suspend.service is not enabled: the "
                   "machine does not suspend",
                   "systemctl enable nvidia-suspend nvidia-hibernate nvidia-resume");
  }
  if (is_tmpfs(tree, save_folder(tree))) {
    return warning(
        kName,
        fmt::format("the driver saves the VRAM in {}, a tmpfs, whose pages may be "
                    "swapped to VRAM",
                    save_folder(tree)),
        "load nvidia with NVreg_TemporaryFilePath=/var/tmp, or another folder on a disk");
  }
  return ok(kName, fmt::format("the driver saves the VRAM in {}", save_folder(tree)));
}

// While swap is up, the memory's descriptors keep the card started, even during a doze. Otherwise
// each `up` waits for the driver to start the card.
Finding check_persistence(const Tree& tree, const Survey& survey) {
  constexpr const char* kName = "persistence";
  if (tree.exists("/run/nvidia-persistenced/socket")) return ok(kName, "nvidia-persistenced runs");
  if (!survey) {
    return unknown(kName, "nvidia-persistenced does not run; " + survey.error().message,
                   "systemctl enable --now nvidia-persistenced");
  }
  const auto off = std::ranges::find(*survey, false, &cuda::SurveyedDevice::is_persistent);
  if (off == survey->end()) return ok(kName, "on");
  return warning(
      kName,
      fmt::format("off on {}: the driver shuts the card down when no program uses it, and "
                  "takes a second or more to start it again",
                  off->pci_address),
      "systemctl enable --now nvidia-persistenced");
}

Findings card_findings(const Tree& tree, const std::vector<Card>& cards, const Survey& survey) {
  if (cards.empty()) return {};
  Findings findings = check_free_memory(tree, survey);
  findings.insert(findings.begin(), check_compute_mode(survey));
  findings.push_back(check_display(tree, cards));
  findings.push_back(check_suspend(tree));
  findings.push_back(check_persistence(tree, survey));
  return findings;
}

}  // namespace vramswap::swapctl
