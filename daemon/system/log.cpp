#include "daemon/system/log.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cstdlib>
#include <optional>

#include "daemon/base/unique_fd.hpp"
#include "daemon/base/unix_address.hpp"

namespace vramswap {
namespace {

// syslog(3)
constexpr int kInfo = 6;
constexpr int kError = 3;
constexpr std::size_t kMaxLine = 900;    // /dev/kmsg takes 1024 bytes less its own prefix
constexpr std::size_t kMaxEntry = 2048;  // a line, and fields that are short

// The journal's socket and the kernel's log take a level; a terminal, a pipe or a file would show
// it.
bool takes_level() {
  struct stat status {};
  if (fstat(STDERR_FILENO, &status) != 0) return false;
  const dev_t kernel_log = makedev(1, 11);  // Documentation/admin-guide/devices.txt
  return S_ISSOCK(status.st_mode) || (S_ISCHR(status.st_mode) && status.st_rdev == kernel_log);
}

LogSink log_sink = nullptr;

struct Journal {
  UniqueFd socket;
  sockaddr_un address;
};
std::optional<Journal> journal;  // where stderr is the journal

// sd_journal_send(3) would do it, but waits while journald's queue is full. journald may be waiting
// for one of our pages then, which comes when the supervisor has replaced the worker. Messages
// without a number stay lines on stderr: journald knows their unit even if the process that wrote
// them has ended at once.
bool send_to_journal(int priority, std::string_view message, const LogFields& fields) {
  if (!journal || fields.message_id.empty()) return false;
  char entry[kMaxEntry];
  const std::size_t length = write_entry(entry, priority, message.substr(0, kMaxLine), fields);
  // Sends to the address each time, because a restarted journald makes another socket.
  return sendto(journal->socket.get(), entry, length, MSG_DONTWAIT | MSG_NOSIGNAL,
                as_sockaddr(journal->address), sizeof journal->address) >= 0;
}

void write_line(int priority, std::string_view message) {
  // Formatted on the stack: I/O threads log too, and they allocate nothing.
  char line[kMaxLine];
  std::size_t length = 0;
  const auto append = [&](std::string_view text) {
    length += text.copy(line + length, sizeof line - 1 - length);
  };
  if (takes_level()) {
    // The form that both journald and /dev/kmsg understand.
    const char level[] = {'<', static_cast<char>('0' + priority), '>'};
    append({level, sizeof level});
  }
  append("vramswapd: ");
  append(message);
  line[length++] = '\n';
  (void)!write(STDERR_FILENO, line, length);
}

void log_message(int priority, std::string_view message, const LogFields& fields) {
  if (log_sink != nullptr) return log_sink(message, fields);
  if (!send_to_journal(priority, message, fields)) write_line(priority, message);
}

// systemd.exec(5): JOURNAL_STREAM has the device and the inode of the journal's stream. Processes
// that have redirected stderr have it in the environment, too.
bool is_journal(const struct stat& stream) {
  const char* known = std::getenv("JOURNAL_STREAM");
  return known != nullptr && known == fmt::format("{}:{}", stream.st_dev, stream.st_ino);
}

}  // namespace

void log_info(std::string_view message, const LogFields& fields) {
  log_message(kInfo, message, fields);
}
void log_error(std::string_view message, const LogFields& fields) {
  log_message(kError, message, fields);
}

void set_log_sink(LogSink sink) {
  log_sink = sink;
}

void prepare_log(const std::string& journal_socket) {
  journal.reset();
  struct stat status {};
  if (fstat(STDERR_FILENO, &status) != 0 || !S_ISSOCK(status.st_mode)) return;
  fcntl(STDERR_FILENO, F_SETFL, fcntl(STDERR_FILENO, F_GETFL) | O_NONBLOCK);
  const auto address = unix_address(journal_socket, "send");
  if (!is_journal(status) || !address) return;
  UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (socket) journal = Journal{std::move(socket), *address};
}

void detach_log() {
  journal.reset();
  const UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  const UniqueFd kernel_log(open("/dev/kmsg", O_WRONLY | O_CLOEXEC | O_NONBLOCK));
  const int log = kernel_log ? kernel_log.get() : null.get();
  dup2(null.get(), STDIN_FILENO);
  dup2(null.get(), STDOUT_FILENO);
  dup2(log, STDERR_FILENO);
}

}  // namespace vramswap
