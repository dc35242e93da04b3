#include "daemon/system/log.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "daemon/base/unique_fd.hpp"

namespace vramswap {
namespace {

// syslog(3) levels, in the form that both journald and /dev/kmsg understand.
constexpr std::string_view kInfo = "<6>";
constexpr std::string_view kError = "<3>";
constexpr std::size_t kMaxLine = 900;  // /dev/kmsg takes 1024 bytes less its own prefix

// The journal's socket and the kernel's log take a level; a terminal, a pipe or a file would show
// it.
bool takes_level() {
  struct stat status {};
  if (fstat(STDERR_FILENO, &status) != 0) return false;
  const dev_t kernel_log = makedev(1, 11);  // Documentation/admin-guide/devices.txt
  return S_ISSOCK(status.st_mode) || (S_ISCHR(status.st_mode) && status.st_rdev == kernel_log);
}

LogSink log_sink = nullptr;

void write_line(std::string_view level, std::string_view message) {
  if (log_sink != nullptr) return log_sink(message);
  // Formatted on the stack: I/O threads log too, and they allocate nothing.
  char line[kMaxLine];
  std::size_t length = 0;
  const auto append = [&](std::string_view text) {
    length += text.copy(line + length, sizeof line - 1 - length);
  };
  if (takes_level()) append(level);
  append("vramswapd: ");
  append(message);
  line[length++] = '\n';
  (void)!write(STDERR_FILENO, line, length);
}

}  // namespace

void log_info(std::string_view message) {
  write_line(kInfo, message);
}
void log_error(std::string_view message) {
  write_line(kError, message);
}

void set_log_sink(LogSink sink) {
  log_sink = sink;
}

void prepare_log() {
  struct stat status {};
  if (fstat(STDERR_FILENO, &status) == 0 && S_ISSOCK(status.st_mode)) {
    fcntl(STDERR_FILENO, F_SETFL, fcntl(STDERR_FILENO, F_GETFL) | O_NONBLOCK);
  }
}

void detach_log() {
  const UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  const UniqueFd kernel_log(open("/dev/kmsg", O_WRONLY | O_CLOEXEC | O_NONBLOCK));
  const int log = kernel_log ? kernel_log.get() : null.get();
  dup2(null.get(), STDIN_FILENO);
  dup2(null.get(), STDOUT_FILENO);
  dup2(log, STDERR_FILENO);
}

}  // namespace vramswap
