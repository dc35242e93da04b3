#include "daemon/supervisor/machine/systemd.hpp"

#include <fmt/format.h>

#include <cstdlib>
#include <sstream>

#include "daemon/base/unix_address.hpp"
#include "daemon/supervisor/machine/child.hpp"

#ifdef VRAMSWAP_HAVE_SYSTEMD
#include <fcntl.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-login.h>

#include <charconv>
#include <chrono>

#include "daemon/supervisor/spawn.hpp"
#include "daemon/system/init_memory.hpp"
#include "daemon/system/log.hpp"
#endif

namespace vramswap {
namespace {

void notify([[maybe_unused]] const std::string& state) {
#ifdef VRAMSWAP_HAVE_SYSTEMD
  (void)sd_notify(0, state.c_str());  // it is a message to the user, not a step of ours
#endif
}

// A line: the job's number, the unit, what is to be done, and how far it is.
template <class Predicate>
bool any_job(const std::string& jobs, Predicate predicate) {
  std::istringstream lines(jobs);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    unsigned number = 0;
    std::string unit;
    std::string type;
    if (words >> number >> unit >> type && predicate(type)) return true;
  }
  return false;
}

}  // namespace

void Systemd::notify_ready() {
  notify("READY=1");
}
void Systemd::notify_stopping() {
  notify("STOPPING=1");
}

// sd_notify(3) would wait while PID 1 reads nothing, and PID 1 may wait for a page of ours then,
// which comes when the supervisor has replaced the worker. This needs no libsystemd.
bool Systemd::notify_status(std::string_view status) {
  const char* path = std::getenv("NOTIFY_SOCKET");
  if (path == nullptr) return true;
  const auto address = unix_address(path, "send");
  const UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!address || !socket) return false;
  const std::string state = fmt::format("STATUS={}", status);
  return sendto(socket.get(), state.data(), state.size(), MSG_DONTWAIT | MSG_NOSIGNAL,
                as_sockaddr(*address), sizeof *address) >= 0;
}

void Systemd::extend_timeout(std::chrono::microseconds timeout) {
  notify(fmt::format("EXTEND_TIMEOUT_USEC={}", timeout.count()));
}

bool lists_job(const std::string& jobs) {
  return any_job(jobs, [](const std::string&) { return true; });
}

bool lists_restart(const std::string& jobs) {
  return any_job(jobs, [](const std::string& type) { return type.ends_with("restart"); });
}

#ifdef VRAMSWAP_HAVE_SYSTEMD
namespace {

// PID 1 is kept out of the swap, so it answers on a starved machine, too. The supervisor waits that
// long at most, and does nothing else meanwhile.
constexpr std::uint64_t kBarrierMicroseconds = 1'000'000;
constexpr std::chrono::milliseconds kJobsInterval{500};
constexpr std::chrono::minutes kJobsTimeout{10};
constexpr const char* kReexecuted = "/run/vramswap/init-reexecuted";

// Empty: this process is not a service of systemd's.
std::string own_unit() {
  char* name = nullptr;
  if (std::getenv("NOTIFY_SOCKET") == nullptr || sd_pid_get_unit(0, &name) < 0) return {};
  std::string unit = name;
  std::free(name);
  return unit;
}

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

awaitable<std::optional<std::size_t>> Systemd::count_fdstore() {
  const std::string unit = own_unit();
  if (unit.empty()) co_return 0;
  wait_for_fdstore();
  std::vector<std::string> arguments{"systemctl", "show", "--value",
                                     "--property=NFileDescriptorStore", unit};
  const auto text = co_await read_program(io_, std::move(arguments));
  if (!text) log_error(text.error().message);
  std::size_t count = 0;
  if (!text || std::from_chars(text->data(), text->data() + text->size(), count).ec != std::errc{})
    co_return std::nullopt;
  co_return count;
}

// If one of init's pages is lost, the machine dies; and an init that waits for a page does not
// start a daemon that would bring it. The swap limit of init.scope does not cover memory that init
// allocated before it made that group: after it has executed itself again, all its memory is in the
// group. It ends the connections of those that wait for a job, as `systemctl start` does, also
// while the machine boots: so no job may be left.
awaitable<void> Systemd::keep_init_out_of_swap() {
  if (sd_booted() <= 0 || !init_has_memory_outside_its_group()) co_return;
  const bool is_busy = co_await has_jobs();
  if (is_busy) {
    spawn(io_, reexecute_init_when_idle());
  } else {
    co_await reexecute_init();
  }
}

awaitable<void> Systemd::reexecute_init_when_idle() {
  asio::steady_timer timer(io_);
  for (auto left = kJobsTimeout / kJobsInterval; left > 0; --left) {
    timer.expires_after(kJobsInterval);
    boost::system::error_code ignored;
    co_await timer.async_wait(into(ignored));
    const bool is_busy = co_await has_jobs();
    if (is_busy) continue;
    co_await reexecute_init();
    break;
  }
}

// Once a boot: what that has not moved, another time will not move.
awaitable<void> Systemd::reexecute_init() {
  const UniqueFd marker(open(kReexecuted, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!marker) co_return;
  log_info("telling init to execute itself again: its swap limit does not cover all of its memory");
  std::vector<std::string> arguments{"systemctl", "daemon-reexec"};
  const auto done = co_await run_program(io_, std::move(arguments));
  if (!done) log_error(done.error().message);
}

awaitable<bool> Systemd::has_jobs() {
  std::vector<std::string> arguments{"systemctl", "list-jobs", "--plain", "--no-legend"};
  const auto jobs = co_await read_program(io_, std::move(arguments));
  if (!jobs) log_error(jobs.error().message);
  co_return !jobs || lists_job(*jobs);
}

// systemd has the job until the unit is started again. Nothing else tells a restart from a stop.
awaitable<bool> Systemd::is_restarting() {
  const std::string unit = own_unit();
  if (unit.empty()) co_return false;
  std::vector<std::string> arguments{"systemctl", "list-jobs", "--plain", "--no-legend", unit};
  const auto jobs = co_await read_program(io_, std::move(arguments));
  if (!jobs) log_error(jobs.error().message);
  co_return jobs.has_value() && lists_restart(*jobs);
}
#else
awaitable<bool> Systemd::is_restarting() {
  co_return false;
}
awaitable<std::optional<std::size_t>> Systemd::count_fdstore() {
  co_return 0;
}
awaitable<void> Systemd::keep_init_out_of_swap() {
  co_return;
}
void Systemd::push_to_fdstore(const std::string&, int) {}
void Systemd::remove_from_fdstore(const std::string&) {}
void Systemd::wait_for_fdstore() {}
NamedFds Systemd::receive_fdstore() {
  return {};
}
#endif

}  // namespace vramswap
