#include "swapctl/doctor/service_checks.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <charconv>
#include <sstream>

#include "swapctl/doctor/privilege_checks.hpp"

namespace vramswap::swapctl {
namespace {

constexpr const char* kInstall = "install vramswap: sudo cmake --install build/release";
constexpr const char* kUnitName = "vramswap.service";
// Two for each of 16 segments, and those of workers and drivers of a few cards.
constexpr unsigned kFdStore = 64;

// In the order of systemd.unit(5) and udev(7): the first one counts.
const std::vector<std::string> kUnitDirectories{"/etc/systemd/system", "/run/systemd/system",
                                                "/usr/local/lib/systemd/system",
                                                "/usr/lib/systemd/system", "/lib/systemd/system"};
const std::vector<std::string> kRuleDirectories{"/etc/udev/rules.d", "/run/udev/rules.d",
                                                "/usr/local/lib/udev/rules.d",
                                                "/usr/lib/udev/rules.d", "/lib/udev/rules.d"};

// "init.scope systemd-journald.service ..."
std::vector<std::string> protected_units() {
  std::istringstream words(VRAMSWAP_PROTECTED_UNITS);
  std::vector<std::string> units;
  for (std::string unit; words >> unit;) units.push_back(unit);
  return units;
}

std::string group_of(const std::string& unit) {
  return unit.ends_with(".scope") ? "/sys/fs/cgroup/" + unit
                                  : "/sys/fs/cgroup/system.slice/" + unit;
}

// Drop-ins override the unit.
std::string unit_setting(const Tree& tree, const std::string& unit, std::string_view key) {
  std::string value = tree.field(unit, key).value_or("");
  for (const auto& directory : kUnitDirectories) {
    const std::string drop_ins = fmt::format("{}/{}.d", directory, kUnitName);
    for (const auto& name : tree.names(drop_ins)) {
      if (!name.ends_with(".conf")) continue;
      value = tree.field(fmt::format("{}/{}", drop_ins, name), key).value_or(value);
    }
  }
  return value;
}

}  // namespace

Finding check_unit(const Tree& tree) {
  constexpr const char* kName = "systemd unit";
  if (!systemd_starts_it(tree)) {
    return ok(kName, "systemd does not run; 'up' starts the daemon itself");
  }
  const auto unit = tree.find(kUnitDirectories, kUnitName);
  if (!unit) {
    return warning(kName,
                   "not installed: 'up' makes a transient one, which protects no other service",
                   kInstall);
  }
  return ok(kName, *unit);
}

Finding check_fd_store(const Tree& tree) {
  constexpr const char* kName = "descriptor store";
  if (!systemd_starts_it(tree)) {
    return warning(kName,
                   "none without systemd: if daemon and worker die at once, the pages are lost",
                   "start vramswap under systemd, if the machine has it");
  }
  const auto unit = tree.find(kUnitDirectories, kUnitName);
  if (!unit) return ok(kName, "the transient unit has one");
  const std::string value = unit_setting(tree, *unit, "FileDescriptorStoreMax");
  unsigned count = 0;
  std::from_chars(value.data(), value.data() + value.size(), count);
  if (count < kFdStore) {
    return warning(kName,
                   fmt::format("FileDescriptorStoreMax is {}: systemd may drop the memory with the "
                               "pages",
                               count),
                   "systemctl edit vramswap, and set FileDescriptorStoreMax=256");
  }
  return ok(kName, fmt::format("{} descriptors", count));
}

Finding check_udev_rule(const Tree& tree) {
  constexpr const char* kName = "udev rule";
  if (!tree.exists("/run/udev")) return ok(kName, "udev does not run");
  const auto rule = tree.find(kRuleDirectories, "60-0-vramswap.rules");
  // An empty file, or a link to /dev/null, disables a rule.
  if (!rule || tree.text(*rule).empty()) {
    return warning(kName, "not installed: udev and disk managers open the devices again and again",
                   kInstall);
  }
  return ok(kName, *rule);
}

Finding check_protected_services(const Tree& tree) {
  constexpr const char* kName = "protected services";
  std::vector<std::string> guarded;
  std::vector<std::string> open;
  for (const auto& unit : protected_units()) {
    const auto limit = tree.read(group_of(unit) + "/memory.swap.max");
    if (!limit) continue;  // does not run, or has another name on this distribution
    (*limit == "0" ? guarded : open).push_back(unit);
  }
  if (!open.empty()) {
    return warning(
        kName, fmt::format("may be swapped out: {}", fmt::join(open, ", ")),
        systemd_starts_it(tree)
            ? fmt::format("install vramswap, or: systemctl set-property {} "
                          "MemorySwapMax=0, for each",
                          open.front())
            : fmt::format("echo 0 > {}/memory.swap.max, for each", group_of(open.front())));
  }
  if (guarded.empty()) {
    return unknown(kName, "none of them has a control group (v2) with memory.swap.max",
                   "boot with cgroup v2, and without swapaccount=0");
  }
  return ok(kName, fmt::format("not swapped out: {}", fmt::join(guarded, ", ")));
}

// The limit of init.scope does not cover what process 1 allocated before it made that group.
Finding check_init(const Tree& tree) {
  constexpr const char* kName = "init";
  const auto swapped = tree.field("/proc/1/status", "VmSwap");
  if (!swapped) return unknown(kName, "/proc/1/status cannot be read", "mount /proc");
  if (!swapped->starts_with("0 ")) {
    return warning(kName, fmt::format("{} of process 1 are in swap", *swapped),
                   systemd_starts_it(tree)
                       ? "systemctl daemon-reexec"
                       : "swapoff the area that has them, and swap it on again");
  }
  return ok(kName, "no page of process 1 is in swap");
}

Finding check_selinux(const Tree& tree) {
  constexpr const char* kName = "SELinux";
  if (tree.text("/sys/fs/selinux/enforce") != "1") return ok(kName, "not enforcing");
  return warning(kName, "enforcing: it may keep systemd from taking the daemon's descriptors",
                 "after 'up' see the notes of 'vramswap status', and ausearch -m avc");
}

Finding check_apparmor(const Tree& tree) {
  constexpr const char* kName = "AppArmor";
  if (tree.text("/sys/module/apparmor/parameters/enabled") != "Y") return ok(kName, "off");
  const auto profiles = tree.read("/sys/kernel/security/apparmor/profiles");
  if (!profiles) {
    return unknown(kName, "on; its profiles cannot be read", std::string(kRunAsRoot));
  }
  if (profiles->contains("vramswap")) {
    return warning(
        kName, "has a profile for vramswap, though vramswap installs none",
        "check that it allows mkswap, swapon, libcuda and /dev/nvidia*, or aa-disable it");
  }
  return ok(kName, "on, without a profile for vramswap");
}

Findings service_findings(const Tree& tree) {
  return {
      check_unit(tree), check_fd_store(tree), check_udev_rule(tree), check_protected_services(tree),
      check_init(tree), check_selinux(tree),  check_apparmor(tree)};
}

}  // namespace vramswap::swapctl
