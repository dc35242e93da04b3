#include "swapctl/systemd_unit.hpp"

#include <fmt/format.h>
#include <sys/wait.h>

#include "daemon/base/wait_status.hpp"
#include "swapctl/spawn.hpp"

namespace vramswap::swapctl {
namespace {

constexpr const char* kUnit = "vramswap.service";

// systemctl(1), "Exit status".
constexpr int kActive = 0;
constexpr int kNotActive = 3;
constexpr int kNoSuchUnit = 4;

Error failure(std::string_view what, int status) {
  return {fmt::format("{} {} failed ({}): see journalctl -u {}", what, kUnit,
                      describe_wait_status(status), kUnit)};
}

}  // namespace

bool systemd_runs(const Systemd& systemd) {
  std::error_code ignored;
  return std::filesystem::exists(systemd.directory, ignored);
}

Result<bool> unit_is_known(const Systemd& systemd) {
  const auto status = run_command({systemd.systemctl, "status", "--no-pager", "--lines=0", kUnit});
  if (!status) return status.error();
  switch (WIFEXITED(*status) ? WEXITSTATUS(*status) : -1) {
    case kActive:
    case kNotActive:
      return true;
    case kNoSuchUnit:
      return false;
    default:
      return fail(fmt::format("systemctl status {} failed ({}): systemd does not answer", kUnit,
                              describe_wait_status(*status)));
  }
}

Result<void> start_unit(const Systemd& systemd) {
  const auto status = run_command({systemd.systemctl, "start", kUnit});
  if (!status) return status.error();
  if (*status != 0) return std::unexpected(failure("systemctl start", *status));
  return {};
}

// Not among them: ExecReload, for `vramswap reload` does the same; RestartSteps and
// RestartMaxDelaySec, which systemd-run before 254 refuses to take.
const std::vector<std::string>& transient_unit_properties() {
  static const std::vector<std::string> properties{
      "Description=Swap on VRAM",
      "StartLimitIntervalSec=0",
      "DefaultDependencies=no",
      "After=local-fs.target",
      "Before=basic.target shutdown.target",
      "Conflicts=shutdown.target",
      "Type=" VRAMSWAP_SERVICE_TYPE,
      "TimeoutStartSec=infinity",
      "Restart=on-failure",
      "RestartSec=100ms",
      "RestartPreventExitStatus=2",
      "FileDescriptorStoreMax=256",
      "NotifyAccess=main",
      "KillMode=process",
      "SendSIGKILL=no",
      "TimeoutStopSec=45s",
      "OOMPolicy=continue",
      "ManagedOOMPreference=omit",
      "OOMScoreAdjust=-1000",
      "LimitMEMLOCK=infinity",
      "LimitRTPRIO=1",
      "MemorySwapMax=0",
      "LimitCORE=1",
      "LimitNOFILE=524288",
      "NoNewPrivileges=yes",
      "CacheDirectory=vramswap",
  };
  return properties;
}

Result<void> start_transient_unit(const Systemd& systemd, const std::filesystem::path& program) {
  // Does the same as the installed drop-in for init.scope; lasts until the next boot.
  (void)run_command(
      {systemd.systemctl, "set-property", "--runtime", "init.scope", "MemorySwapMax=0"});
  // Without --collect, a unit that has failed would stay, and the next could not have its name.
  std::vector<std::string> command{systemd.systemd_run, "--quiet", "--collect",
                                   fmt::format("--unit={}", kUnit)};
  for (const auto& property : transient_unit_properties()) {
    command.push_back("--property=" + property);
  }
  command.push_back(program.string());
  // It says which property a systemd does not know.
  const auto status = run_command(command, {.share_stderr = true});
  if (!status) return status.error();
  if (*status != 0) return std::unexpected(failure("systemd-run --unit", *status));
  return {};
}

}  // namespace vramswap::swapctl
