#include "swapctl/doctor/kernel_checks.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <utility>

#include "daemon/system/module_advice.hpp"
#include "daemon/system/program_directories.hpp"

namespace vramswap::swapctl {
namespace {

constexpr std::pair<int, int> kOldestKernel{6, 1};
// Four bytes of attributes come first; the last byte is the value.
constexpr const char* kSecureBoot =
    "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";

std::string release_of(const Tree& tree) {
  return tree.text("/proc/sys/kernel/osrelease");
}

bool is_loaded(const Tree& tree, const char* module) {
  return tree.exists(fmt::format("/sys/module/{}", module));
}

// Whether one of the kernel's lists of modules has nbd: "kernel/drivers/block/nbd.ko.xz: ...".
bool lists_nbd(const Tree& tree, const std::string& list) {
  const std::string lines = '\n' + tree.text(list);
  return lines.contains("/nbd.ko") || lines.contains("\nnbd.ko");
}

}  // namespace

Finding check_kernel_version(const Tree& tree) {
  constexpr const char* kName = "kernel";
  const std::string release = release_of(tree);
  std::pair<int, int> version;
  if (std::sscanf(release.c_str(), "%d.%d", &version.first, &version.second) != 2) {
    return unknown(kName, "/proc/sys/kernel/osrelease has no version", "mount /proc");
  }
  if (version < kOldestKernel) {
    return failure(
        kName, fmt::format("Linux {}", release),
        fmt::format("boot Linux {}.{} or newer", kOldestKernel.first, kOldestKernel.second));
  }
  return ok(kName, fmt::format("Linux {}", release));
}

Finding check_nbd_module(const Tree& tree) {
  constexpr const char* kName = "nbd module";
  if (is_loaded(tree, "nbd")) return ok(kName, "loaded");
  const std::string modules = fmt::format("/lib/modules/{}", release_of(tree));
  if (lists_nbd(tree, modules + "/modules.builtin")) return ok(kName, "built in");
  if (lists_nbd(tree, modules + "/modules.dep")) {
    return ok(kName, "not loaded; 'up' loads it");
  }
  return failure(kName,
                 tree.exists(modules)
                     ? fmt::format("not among the modules in {}", modules)
                     : std::string("not loaded, and there are no modules of the running kernel"),
                 module_advice("", tree.path(modules)));
}

Finding check_secure_boot(const Tree& tree) {
  constexpr const char* kName = "secure boot";
  const auto value = tree.read(kSecureBoot);
  if (!value && value.error().code == EACCES) {
    return unknown(kName, "cannot be read", std::string(kRunAsRoot));
  }
  if (!value || value->empty() || value->back() != '\1') return ok(kName, "off");
  if (!is_loaded(tree, "nvidia") || !is_loaded(tree, "nbd")) {
    return warning(kName,
                   fmt::format("on, and {} is not loaded: the kernel may refuse it",
                               is_loaded(tree, "nvidia") ? "nbd" : "nvidia"),
                   std::string(kSecureBootAdvice));
  }
  return ok(kName, "on, but nbd and nvidia are loaded");
}

// The swap belongs to the whole machine, but the daemon and the pages would end with the container.
Finding check_container(const Tree& tree) {
  constexpr const char* kName = "container";
  for (const char* mark : {"/run/.containerenv", "/.dockerenv", "/run/systemd/container"}) {
    if (!tree.exists(mark)) continue;
    return failure(kName, fmt::format("this is one: {} exists", mark), std::string(kOutsideAdvice));
  }
  const auto environment = tree.read("/proc/1/environ");
  // Its variables end with a zero byte.
  if (environment && ('\0' + *environment).contains(std::string_view("\0container=", 11))) {
    return failure(kName, "this is one, as the environment of process 1 says",
                   std::string(kOutsideAdvice));
  }
  return ok(kName, "none");
}

Finding check_network_namespace(const Tree& tree) {
  constexpr const char* kName = "network namespace";
  const auto own = tree.link("/proc/self/ns/net");
  const auto init = tree.link("/proc/1/ns/net");
  if (!own || !init) {
    return unknown(kName, "the namespace of process 1 cannot be read", std::string(kRunAsRoot));
  }
  if (*own != *init) {
    return warning(kName, "differs from that of process 1: the kernel may not show nbd here",
                   std::string(kOutsideAdvice));
  }
  return ok(kName, "that of process 1");
}

Finding check_programs(const Tree& tree) {
  constexpr const char* kName = "programs";
  const std::vector<std::string> directories(kProgramDirectories.begin(),
                                             kProgramDirectories.end());
  const auto mkswap = tree.find(directories, "mkswap");
  if (!mkswap) return failure(kName, "no mkswap", "install util-linux");
  if (!is_loaded(tree, "nbd") && !tree.find(directories, "modprobe")) {
    return failure(kName, "no modprobe to load nbd", "install kmod");
  }
  return ok(kName, *mkswap);
}

Findings kernel_findings(const Tree& tree) {
  return {check_kernel_version(tree), check_nbd_module(tree),        check_secure_boot(tree),
          check_container(tree),      check_network_namespace(tree), check_programs(tree)};
}

}  // namespace vramswap::swapctl
