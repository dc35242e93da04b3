#include "daemon/supervisor/inherited_fds.hpp"

#include <fcntl.h>
#include <fmt/format.h>

#include <boost/algorithm/string/classification.hpp>
#include <boost/algorithm/string/split.hpp>
#include <charconv>
#include <cstdlib>
#include <vector>

#ifdef VRAMSWAP_HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

#include "daemon/system/log.hpp"

namespace vramswap {

#ifdef VRAMSWAP_HAVE_SYSTEMD
namespace {

// PID 1 is kept out of the swap, so it answers on a starved machine, too; the supervisor waits that
// long at most, deaf to everything else.
constexpr std::uint64_t kBarrierMicroseconds = 1'000'000;

void warn(const char* what, int code) {
  if (code < 0) log_error(errno_error("systemd's fd store", what, -code).message);
}

}  // namespace

void put_in_fd_store(const std::string& name, int fd) {
  const std::string state = fmt::format("FDSTORE=1\nFDPOLL=0\nFDNAME={}", name);
  warn(name.c_str(), sd_pid_notify_with_fds(0, 0, state.c_str(), &fd, 1));
}

void take_out_of_fd_store(const std::string& name) {
  warn(name.c_str(), sd_notify(0, fmt::format("FDSTOREREMOVE=1\nFDNAME={}", name).c_str()));
}

void wait_for_fd_store() {
  warn("barrier", sd_notify_barrier(0, kBarrierMicroseconds));
}

NamedFds take_fd_store() {
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
#else
void put_in_fd_store(const std::string&, int) {}
void take_out_of_fd_store(const std::string&) {}
void wait_for_fd_store() {}
NamedFds take_fd_store() {
  return {};
}
#endif

std::string pass_on(const NamedFds& fds) {
  std::vector<std::string> items;
  for (const auto& [name, fd] : fds) {
    fcntl(fd.get(), F_SETFD, 0);
    items.push_back(fmt::format("{}={}", name, fd.get()));
  }
  return fmt::format("{}", fmt::join(items, ","));
}

Result<NamedFds> take_passed_on(const std::string& text) {
  NamedFds fds;
  std::vector<std::string> items;
  boost::split(items, text, boost::is_any_of(","));
  for (const std::string& item : items) {
    const auto equals = item.find('=');
    const char* end = item.data() + item.size();
    int fd = -1;
    if (equals == std::string::npos ||
        std::from_chars(item.data() + equals + 1, end, fd).ptr != end ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
      return fail(fmt::format("'{}': not a descriptor that was passed on", item));
    }
    fds[item.substr(0, equals)] = UniqueFd(fd);
  }
  return fds;
}

}  // namespace vramswap
