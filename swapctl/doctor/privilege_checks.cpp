#include "swapctl/doctor/privilege_checks.hpp"

#include <fmt/format.h>
#include <linux/capability.h>

#include <charconv>
#include <cstdint>
#include <sstream>
#include <utility>

#include "daemon/control/size.hpp"
#include "daemon/system/hardening.hpp"

namespace vramswap::swapctl {
namespace {

// README: 300 MB of locked memory for the worker, and as much for its successor.
constexpr std::uint64_t kWorkingBytes = 1ULL << 30;

constexpr std::pair<unsigned, const char*> kNeeded[] = {
    {CAP_SYS_ADMIN, "CAP_SYS_ADMIN"},       {CAP_NET_ADMIN, "CAP_NET_ADMIN"},
    {CAP_IPC_LOCK, "CAP_IPC_LOCK"},         {CAP_SYS_NICE, "CAP_SYS_NICE"},
    {CAP_SYS_RESOURCE, "CAP_SYS_RESOURCE"},
};

// The daemon's capabilities; nothing: this user cannot tell.
std::optional<std::uint64_t> capabilities(const Tree& tree, bool is_root) {
  const bool by_systemd = systemd_starts_it(tree);
  if (!by_systemd && !is_root) return std::nullopt;
  const auto text = by_systemd ? tree.field("/proc/1/status", "CapBnd")
                               : tree.field("/proc/self/status", "CapEff");
  std::uint64_t bits = 0;
  if (!text ||
      std::from_chars(text->data(), text->data() + text->size(), bits, 16).ec != std::errc{}) {
    return std::nullopt;
  }
  return bits;
}

bool has(std::uint64_t bits, unsigned capability) {
  return (bits >> capability & 1) != 0;
}

// The soft limit in a line of proc_pid_limits(5), "Max locked memory   8388608   8388608   bytes".
std::string limit_of(const Tree& tree, std::string_view name) {
  std::istringstream lines(tree.text("/proc/self/limits"));
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(name)) continue;
    std::string word;
    std::istringstream(line.substr(name.size())) >> word;
    return word;
  }
  return "";
}

Finding not_known(const char* name) {
  return unknown(name, "without systemd the daemon has the privileges of its caller",
                 std::string(kRunAsRoot));
}

}  // namespace

bool systemd_starts_it(const Tree& tree) {
  return tree.exists("/run/systemd/system");
}

Finding check_capabilities(const Tree& tree, bool is_root) {
  constexpr const char* kName = "capabilities";
  const auto bits = capabilities(tree, is_root);
  if (!bits) return not_known(kName);
  std::vector<std::string> missing;
  for (const auto& [capability, name] : kNeeded) {
    if (!has(*bits, capability)) missing.emplace_back(name);
  }
  if (missing.empty()) return ok(kName, "all that the daemon needs");
  return failure(kName, fmt::format("missing: {}", fmt::join(missing, ", ")),
                 "run vramswap as root, outside of containers");
}

Finding check_locked_memory(const Tree& tree, bool is_root) {
  constexpr const char* kName = "locked memory";
  if (systemd_starts_it(tree)) return ok(kName, "the unit has no limit");
  const auto bits = capabilities(tree, is_root);
  if (!bits) return not_known(kName);
  if (has(*bits, CAP_IPC_LOCK)) return ok(kName, "CAP_IPC_LOCK lifts the limit");
  const std::string limit = limit_of(tree, "Max locked memory");
  if (limit == "unlimited") return ok(kName, "no limit");
  return failure(kName, fmt::format("at most {} bytes", limit), std::string(kLockedMemoryAdvice));
}

// kernel/sched/core.c, __sched_setscheduler(): with CONFIG_RT_GROUP_SCHED a group without realtime
// budget takes no realtime thread, unless the budget of the whole machine is not limited.
// cgroup v2 has no file to give a group one.
Finding check_realtime(const Tree& tree, bool is_root) {
  constexpr const char* kName = "realtime";
  const std::string config =
      fmt::format("/boot/config-{}", tree.text("/proc/sys/kernel/osrelease"));
  const bool groups_have_budgets = tree.field(config, "CONFIG_RT_GROUP_SCHED") == "y";
  const bool is_limited = tree.text("/proc/sys/kernel/sched_rt_runtime_us") != "-1";
  const std::string budget = tree.text("/sys/fs/cgroup/cpu/system.slice/cpu.rt_runtime_us");
  if (groups_have_budgets && is_limited && (budget.empty() || budget == "0")) {
    return warning(
        kName,
        "the kernel has CONFIG_RT_GROUP_SCHED: a control group without a budget takes no "
        "realtime thread",
        "sysctl kernel.sched_rt_runtime_us=-1");
  }
  if (systemd_starts_it(tree)) return ok(kName, "the unit allows it");
  const auto bits = capabilities(tree, is_root);
  if (!bits) return not_known(kName);
  const std::string limit = limit_of(tree, "Max realtime priority");
  if (has(*bits, CAP_SYS_NICE)) return ok(kName, "CAP_SYS_NICE allows it");
  if (limit != "0" && !limit.empty()) return ok(kName, fmt::format("priority {} at most", limit));
  return failure(kName, "priority 0 at most", std::string(kRealtimeAdvice));
}

// memory.max of the daemon's group and of those above it.
Finding check_control_group(const Tree& tree) {
  constexpr const char* kName = "control group";
  constexpr std::string_view kRoot = "/sys/fs/cgroup";
  std::string group = "/system.slice/vramswap.service";
  if (!systemd_starts_it(tree)) {
    // "0::/user.slice/session-1.scope"
    group = tree.field("/proc/self/cgroup", "0:").value_or("");
    if (group == "/" || !group.starts_with('/')) group = "";
  }
  for (; !group.empty(); group.erase(group.rfind('/'))) {
    const std::string file = fmt::format("{}{}/memory.max", kRoot, group);
    const std::string text = tree.text(file);
    std::uint64_t bytes = 0;
    if (std::from_chars(text.data(), text.data() + text.size(), bytes).ec != std::errc{}) continue;
    if (bytes >= kWorkingBytes) continue;
    return warning(
        kName,
        fmt::format("{} takes {} at most, the daemon and its worker need up to {}", group,
                    control::format_bytes(bytes), control::format_bytes(kWorkingBytes)),
        fmt::format("raise {}", file));
  }
  return ok(kName, "has room for the daemon and its worker");
}

Findings privilege_findings(const Tree& tree, bool is_root) {
  return {check_capabilities(tree, is_root), check_locked_memory(tree, is_root),
          check_realtime(tree, is_root), check_control_group(tree)};
}

}  // namespace vramswap::swapctl
