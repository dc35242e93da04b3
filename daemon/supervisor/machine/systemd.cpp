#include "daemon/supervisor/machine/systemd.hpp"

#include <fmt/format.h>

#include <sstream>

#include "daemon/supervisor/machine/child.hpp"

#ifdef VRAMSWAP_HAVE_SYSTEMD
#include <fcntl.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-login.h>

#include <cstdlib>

#include "daemon/system/log.hpp"
#endif

namespace vramswap {
namespace {

void notify([[maybe_unused]] const std::string& state) {
#ifdef VRAMSWAP_HAVE_SYSTEMD
  (void)sd_notify(0, state.c_str());  // it is a message to the user, not a step of ours
#endif
}

}  // namespace

void Systemd::notify_ready() {
  notify("READY=1");
}
void Systemd::notify_stopping() {
  notify("STOPPING=1");
}
void Systemd::notify_status(std::string_view status) {
  notify(fmt::format("STATUS={}", status));
}
void Systemd::extend_timeout(std::chrono::microseconds timeout) {
  notify(fmt::format("EXTEND_TIMEOUT_USEC={}", timeout.count()));
}

// A line: the job's number, the unit, what is to be done, and how far it is.
bool lists_restart(const std::string& jobs) {
  std::istringstream lines(jobs);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string job;
    std::string unit;
    std::string type;
    if (words >> job >> unit >> type && type.ends_with("restart")) return true;
  }
  return false;
}

#ifdef VRAMSWAP_HAVE_SYSTEMD
namespace {

// PID 1 is kept out of the swap, so it answers on a starved machine, too. The supervisor waits that
// long at most, and does nothing else meanwhile.
constexpr std::uint64_t kBarrierMicroseconds = 1'000'000;

void warn(const char* what, int code) {
  if (code < 0) log_error(errno_error("systemd's fd store", what, -code).message);
}

}  // namespace

void Systemd::push_to_fdstore(const std::string& name, int fd) {
  const std::string state = fmt::format("FDSTORE=1\nFDPOLL=0\nFDNAME={}", name);
  warn(name.c_str(), sd_pid_notify_with_fds(0, 0, state.c_str(), &fd, 1));
}

void Systemd::remove_from_fdstore(const std::string& name) {
  warn(name.c_str(), sd_notify(0, fmt::format("FDSTOREREMOVE=1\nFDNAME={}", name).c_str()));
}

void Systemd::wait_for_fdstore() {
  warn("barrier", sd_notify_barrier(0, kBarrierMicroseconds));
}

NamedFds Systemd::receive_fdstore() {
  char** names = nullptr;
  const int count = sd_listen_fds_with_names(1, &names);
  NamedFds fds;
  for (int i = 0; i < count; ++i) {
    fcntl(SD_LISTEN_FDS_START + i, F_SETFD, FD_CLOEXEC);
    fds[names[i]] = UniqueFd(SD_LISTEN_FDS_START + i);
    std::free(names[i]);
  }
  std::free(names);
  return fds;
}

// systemd has the job until the unit is started again. Nothing else tells a restart from a stop.
awaitable<bool> Systemd::is_restarting() {
  char* name = nullptr;
  if (std::getenv("NOTIFY_SOCKET") == nullptr || sd_pid_get_unit(0, &name) < 0) co_return false;
  std::vector<std::string> arguments{"systemctl", "list-jobs", "--plain", "--no-legend", name};
  std::free(name);
  const auto jobs = co_await read_program(io_, std::move(arguments));
  if (!jobs) log_error(jobs.error().message);
  co_return jobs.has_value() && lists_restart(*jobs);
}
#else
awaitable<bool> Systemd::is_restarting() {
  co_return false;
}
void Systemd::push_to_fdstore(const std::string&, int) {}
void Systemd::remove_from_fdstore(const std::string&) {}
void Systemd::wait_for_fdstore() {}
NamedFds Systemd::receive_fdstore() {
  return {};
}
#endif

}  // namespace vramswap
